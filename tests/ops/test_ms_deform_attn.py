"""What multi-scale deformable attention is: cases worked by hand, which every implementation must meet."""

import pytest
import torch
from torch.autograd import gradcheck

from repro.ops.ms_deform_attn import MODES, implementation, level_starts, ms_deform_attn, native

SHAPES = [(2, 3), (1, 2)]  # 6 and 2 tokens


@pytest.fixture(params=["reference", "native"], autouse=True)
def each_implementation(request):
    if request.param == "native" and not native.serves("cpu", torch.float32):
        pytest.skip("the operator is not built: repro ops build")
    with implementation(request.param):
        yield


def call(value, locations, weights, points=(1, 1), mode="bilinear", shapes=SHAPES, starts=None):
    starts = level_starts(shapes) if starts is None else starts
    return ms_deform_attn(value, shapes, starts, locations, weights, points_per_level=points, mode=mode)


def ramp():
    """One image, one head, one channel: level 0 holds 0…5 row by row, level 1 holds 10 and 20."""
    return torch.tensor([0.0, 1, 2, 3, 4, 5, 10, 20]).view(1, 8, 1, 1)


def test_bilinear_by_hand():
    # Level 0 is 3 wide and 2 high: (0.5, 0.5) is midway between the pixels 1 and 4, so 2.5; level 1: pixel 20 itself.
    locations = torch.tensor([[0.5, 0.5], [0.75, 0.5]]).view(1, 1, 1, 2, 2)
    weights = torch.tensor([0.25, 0.75]).view(1, 1, 1, 2)
    assert call(ramp(), locations, weights).item() == pytest.approx(0.25 * 2.5 + 0.75 * 20)


def test_bilinear_reads_zero_outside():
    # The outer edge of the map is half a pixel from the first pixel's centre; half a pixel further on, nothing is left.
    locations = torch.tensor([[0.0, 0.5], [-0.25, 0.5]]).view(1, 2, 1, 1, 2)
    weights = torch.ones(1, 2, 1, 1)
    output = call(ramp()[:, 6:], locations, weights, points=(1,), shapes=[(1, 2)])
    assert output.flatten().tolist() == pytest.approx([5.0, 0.0])


@pytest.mark.parametrize(("mode", "first"), [("discrete", 4), ("discrete_per_axis", 5)])
def test_discrete_by_hand(mode, first):
    # Index = trunc(location · size + 0.5), clamped: x 0.5 · 3 + 0.5 = 2, y 0.5 · 2 + 0.5 = 1, so pixel 5. As published,
    # columns end where rows do, at 1, which gives pixel 4. Far outside → 10.
    locations = torch.tensor([[0.5, 0.5], [-3.0, 0.5]]).view(1, 1, 1, 2, 2)
    weights = torch.tensor([0.25, 0.75]).view(1, 1, 1, 2)
    assert call(ramp(), locations, weights, mode=mode).item() == pytest.approx(0.25 * first + 0.75 * 10)


@pytest.mark.parametrize("mode", ["discrete", "discrete_per_axis"])
def test_discrete_passes_no_gradient_to_locations(mode):
    value, locations = ramp().requires_grad_(), torch.rand(1, 4, 1, 2, 2, requires_grad=True)
    weights = torch.rand(1, 4, 1, 2, requires_grad=True)
    output = call(value, locations, weights, mode=mode)
    value_grad, weight_grad, location_grad = torch.autograd.grad(
        output.sum(), (value, weights, locations), allow_unused=True
    )
    assert location_grad is None
    assert value_grad.abs().sum() > 0 and weight_grad.abs().sum() > 0


def test_discrete_on_tall_maps_stays_in_its_row():
    # 3 high, 1 wide: the published code would clamp the column at 2, two rows further on.
    locations = torch.tensor([[5.0, 0.0]]).view(1, 1, 1, 1, 2)
    value = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    output = call(value, locations, torch.ones(1, 1, 1, 1), (1,), "discrete", [(3, 1)])
    assert output.item() == 1.0


def test_agrees_with_a_plain_loop_for_unequal_points():
    torch.manual_seed(0)
    points = (3, 1)
    value, locations = torch.randn(2, 8, 2, 3), torch.rand(2, 5, 2, 4, 2) * 1.4 - 0.2
    weights = torch.rand(2, 5, 2, 4)
    expected = torch.zeros(2, 5, 2, 3)
    level_of = [0, 0, 0, 1]
    for b, q, m, p in torch.cartesian_prod(*map(torch.arange, (2, 5, 2, 4))).tolist():
        (height, width), start = SHAPES[level_of[p]], level_starts(SHAPES)[level_of[p]]
        x, y = (locations[b, q, m, p] * torch.tensor([width, height]) - 0.5).tolist()
        for row in range(height):
            for column in range(width):
                share = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
                expected[b, q, m] += weights[b, q, m, p] * share * value[b, start + row * width + column, m]
    output = call(value, locations, weights, points)
    torch.testing.assert_close(output, expected.flatten(2))


@pytest.mark.parametrize("mode", MODES)
def test_gradients(mode):
    torch.manual_seed(0)
    value = torch.randn(1, 8, 2, 2, dtype=torch.float64, requires_grad=True)
    # Away from pixel centres, where the bilinear weights have a kink.
    pixel = torch.tensor([0.3, 0.7, 1.4], dtype=torch.float64)[torch.randint(3, (1, 3, 2, 2, 2))]
    locations = (pixel / torch.tensor([[3.0, 2.0], [2.0, 1.0]], dtype=torch.float64)).requires_grad_(mode == "bilinear")
    weights = torch.rand(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda *tensors: call(*tensors, mode=mode), (value, locations, weights))


@pytest.mark.parametrize("mode", MODES)
def test_locations_far_outside_and_not_finite(mode):
    bad = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 40.0, -40.0])
    locations = torch.stack([bad, torch.full_like(bad, 0.5)], -1).view(1, 7, 1, 1, 2).requires_grad_()
    value = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(1, 4, 1, 1).requires_grad_()
    output = call(value, locations, torch.ones(1, 7, 1, 1), (1,), mode, [(2, 2)]).flatten()
    output[3:].sum().backward()  # no crash; what comes of the first three is nobody's business
    if mode == "bilinear":
        assert output[:3].isnan().all()  # as grid_sample has it: what diverged must be seen
        assert output[3:].tolist() == [0, 0, 0, 0]
    else:  # y = 0.5 · 2 + 0.5 reads the second row: 4 and 8
        assert output[[1, 3, 5]].tolist() == [8, 8, 8]
        assert output[[0, 2, 4, 6]].tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("empty", ["images", "queries", "heads", "channels", "points", "tokens"])
def test_nothing_to_do(mode, empty):
    batch, queries, heads, channels = (0 if empty == name else 2 for name in ("images", "queries", "heads", "channels"))
    points, shapes = (0, 0) if empty == "points" else (1, 2), [(0, 3), (1, 0)] if empty == "tokens" else SHAPES
    value = torch.rand(batch, sum(h * w for h, w in shapes), heads, channels, requires_grad=True)
    locations = torch.rand(batch, queries, heads, sum(points), 2, requires_grad=True)
    weights = torch.rand(batch, queries, heads, sum(points), requires_grad=True)
    output = call(value, locations, weights, points, mode, shapes)
    assert output.shape == (batch, queries, heads * channels) and not output.any()
    output.sum().backward()
    assert value.grad is None or not value.grad.any()


@pytest.mark.parametrize("mode", MODES)
def test_a_level_without_pixels_or_without_points_is_passed_over(mode):
    value, locations, weights = ramp()[:, :6], torch.rand(1, 4, 1, 3, 2), torch.rand(1, 4, 1, 3)
    output = call(value, locations, weights, (1, 2, 0), mode, [(2, 3), (0, 5), (0, 0)])
    alone = call(value, locations[:, :, :, :1].contiguous(), weights[..., :1].contiguous(), (1,), mode, [(2, 3)])
    torch.testing.assert_close(output, alone)


def test_half_precision_values_keep_exact_locations():
    torch.manual_seed(0)
    shapes = [(40, 40)]
    value, locations = torch.randn(1, 1600, 1, 4), torch.rand(1, 64, 1, 1, 2)
    weights = torch.ones(1, 64, 1, 1)
    exact = call(value, locations, weights, (1,), shapes=shapes)
    half = call(value.bfloat16(), locations, weights.bfloat16(), (1,), shapes=shapes)
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).norm() / exact.norm() < 5e-3


GOOD = {"value": (1, 8, 1, 1), "locations": (1, 4, 1, 2, 2), "weights": (1, 4, 1, 2)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": (1, 8, 1)}, r"value has shape \[1, 8, 1\]; expected \[B, S, M, D\]"),
        ({"value": (1, 7, 1, 1)}, r"value has 7 tokens, but spatial_shapes .* need 8"),
        ({"locations": (1, 4, 1, 3, 2)}, r"sampling_locations has shape .*; expected \[1, Q, 1, 2, 2\]"),
        ({"locations": (1, 4, 2)}, r"sampling_locations has shape \[1, 4, 2\]; expected \[1, Q, 1, 2, 2\]"),
        ({"weights": (1, 5, 1, 2)}, r"attention_weights has shape \[1, 5, 1, 2\]; expected \[1, 4, 1, 2\]"),
        ({"points": (1, 1, 1)}, r"points_per_level is \[1, 1, 1\]; expected one number for each of 2 levels"),
        ({"starts": [0, 5]}, r"level_start_index is \[0, 5\]; .* expect \[0, 6\]"),
        ({"mode": "nearest"}, r"mode is 'nearest'; expected one of bilinear, discrete"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change, message):
    sizes = {name: change.get(name, size) for name, size in GOOD.items()}
    options = {name: value for name, value in change.items() if name not in GOOD}
    with pytest.raises(ValueError, match=message):
        call(torch.rand(sizes["value"]), torch.rand(sizes["locations"]), torch.rand(sizes["weights"]), **options)


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        (
            "value",
            lambda x: x.int(),
            TypeError,
            r"value, of shape \[1, 8, 1, 1\], is int32; expected float64 or float32",
        ),
        ("locations", lambda x: x.half(), TypeError, r"sampling_locations, .* is float16; .* expected float32"),
        ("weights", lambda x: x.double(), TypeError, r"attention_weights, .* is float64; .* expected float32"),
        ("locations", lambda x: x.to("meta"), ValueError, r"sampling_locations, .* is on meta; expected cpu"),
        (
            "weights",
            lambda x: x.as_strided(x.shape, (8, 1, 8, 4)),
            ValueError,
            r"attention_weights, .* has strides \[8, 1, 8, 4\]",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(name, change, error, message):
    tensors = {name: torch.rand(size) for name, size in GOOD.items()}
    tensors[name] = change(tensors[name])
    with pytest.raises(error, match=message):
        call(*tensors.values())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shapes": [(-2, -3), (1, 2)]}, ValueError, r"spatial_shapes holds \(-2, -3\); expected \(height, width\)"),
        (
            {"shapes": [(2, 3, 1), (1, 2)]},
            ValueError,
            r"spatial_shapes is .*; expected \(height, width\) of each level",
        ),
        ({"shapes": [2, 3]}, TypeError, r"spatial_shapes holds 2; expected \(height, width\) of each level"),
        ({"shapes": None, "starts": [0, 6]}, TypeError, "spatial_shapes is None; expected"),
        ({"points": (1, -1)}, ValueError, r"points_per_level holds \(1, -1\); expected whole numbers"),
        ({"points": (1.0, 1.0)}, TypeError, r"points_per_level holds \(1.0, 1.0\); expected whole numbers"),
        ({"points": 2}, TypeError, "points_per_level holds 2; expected whole numbers"),
        ({"starts": 0}, TypeError, "level_start_index holds 0; expected whole numbers"),
    ],
)
def test_numbers_that_do_not_fit_are_named(change, error, message):
    with pytest.raises(error, match=message):
        call(*(torch.rand(size) for size in GOOD.values()), **({"starts": [0, 6]} | change))


def test_what_is_no_tensor_is_named():
    with pytest.raises(TypeError, match="value is a ndarray; expected a tensor"):
        call(ramp().numpy(), torch.rand(1, 4, 1, 2, 2), torch.rand(1, 4, 1, 2))


def test_the_published_layout_is_recognised():
    with pytest.raises(ValueError, match="levels and points in one axis"):
        call(ramp(), torch.rand(1, 4, 1, 2, 1, 2), torch.rand(1, 4, 1, 2))


def test_transforms_have_the_references_rules():
    value, locations, weights = ramp(), torch.rand(1, 4, 1, 2, 2), torch.rand(1, 4, 1, 2)
    per_value = torch.func.grad(lambda v: call(v, locations, weights).sum())(value)
    (expected,) = torch.autograd.grad(call(value.requires_grad_(), locations, weights).sum(), value)
    torch.testing.assert_close(per_value, expected)
    # The operator is linear in the value, so its derivative along the value is itself.
    discrete = torch.func.jvp(lambda v: call(v, locations, weights, mode="discrete"), (ramp(),), (ramp(),))
    torch.testing.assert_close(discrete[1], discrete[0])


def test_sizes_may_be_tensors():
    locations, weights = torch.rand(1, 4, 1, 2, 2), torch.rand(1, 4, 1, 2)
    output = call(ramp(), locations, weights, shapes=torch.tensor(SHAPES), starts=torch.tensor([0, 6]))
    torch.testing.assert_close(output, call(ramp(), locations, weights))
