"""RT-DETR's sizes and parameter groups, as the recipes build them, against numbers measured with the authors' code."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from repro.engine import config
from repro.ops.ms_deform_attn import implementation

SIZES = {  # backbone: all parameters, those that are trained, those left after fusing
    "r18vd": (20_184_464, 20_184_464, 19_983_248),
    "r34vd": (31_441_668, 31_441_668, 31_240_452),
    "r50vd_m": (36_593_772, 36_565_260, 36_392_556),
    "r50vd": (42_891_372, 42_862_860, 42_095_724),
    "r101vd": (76_556_268, 76_527_756, 74_772_972),
}
ENTRIES = {"r18vd": 533, "r34vd": 659, "r50vd_m": 760, "r50vd": 736, "r101vd": 991}  # of a file of v1
BACKBONE = {"r50vd_m": (1e-5, 1e-4, 23_445_504, 52), "r50vd": (1e-5, 1e-4, 23_445_504, 52)}
V2_GROUPS = {  # rate, weight decay, parameters, tensors; in the order of the groups
    "r18vd": [(1e-4, 0, 31_360, 162), (1e-4, 1e-4, 20_153_104, 164)],
    "r34vd": [
        (5e-5, 1e-4, 21_290_848, 39),
        (5e-5, 0, 17_280, 78),
        (1e-4, 0, 41_764, 181),
        (1e-4, 1e-4, 10_091_776, 106),
    ],
    "r50vd_m": [BACKBONE["r50vd_m"], (1e-4, 0, 26_112, 134), (1e-4, 1e-4, 13_093_644, 213)],
    "r50vd": [BACKBONE["r50vd"], (1e-4, 0, 32_256, 126), (1e-4, 1e-4, 19_385_100, 209)],
    "r101vd": [(1e-6, 1e-4, 42_385_408, 103), (1e-4, 0, 42_752, 126), (1e-4, 1e-4, 34_099_596, 209)],
}
V1_GROUPS = {  # without tensors
    "r18vd": [(1e-5, 1e-4, 11_190_112), (1e-5, 0, 9_856), (1e-4, 0, 35_504), (1e-4, 1e-4, 8_948_992)],
    "r34vd": [(1e-5, 1e-4, 21_290_848), (1e-5, 0, 17_280), (1e-4, 0, 40_740), (1e-4, 1e-4, 10_092_800)],
    "r50vd_m": [(1e-5, 1e-4, 23_445_504), (1e-4, 0, 51_212), (1e-4, 1e-4, 13_068_544)],
    "r50vd": [(1e-5, 1e-4, 23_445_504), (1e-4, 0, 57_356), (1e-4, 1e-4, 19_360_000)],
    "r101vd": [(1e-6, 1e-4, 42_385_408), (1e-4, 0, 39_936), (1e-4, 1e-4, 34_102_412)],
}
DISCRETE = {"r18vd": 20_036_432, "r34vd": 31_244_292, "r50vd_m": 36_269_196, "r50vd": 42_566_796}  # trained

# Of a fused model for one image of 640 × 640: decoder layers that run, parameters they and the rest use, operations.
DEPLOYED = {
    "r18vd": (3, 19_921_392, 60.06e9),
    "r34vd": (4, 31_158_036, 92.08e9),
    "r50vd_m": (3, 32_883_568, 99.18e9),
    "r50vd": (6, 41_972_188, 133.13e9),
    "r101vd": (6, 74_649_436, 250.93e9),
}


def build(name, **settings):
    """A recipe's model, whose weights take no memory, and the recipe."""
    recipe = config.resolve(f"rtdetr/{name}.py", settings).recipe
    with torch.device("meta"):
        return config.build(recipe["model"]), recipe


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


def groups(model, recipe):
    """Parameters' names, rates and weight decays by group, also in the test's output."""
    optimizer = config.build(recipe["optimizer"], model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        print(f"{group['name']}: lr {group['initial_lr']:g}, weight decay {group['weight_decay']:g}")
        print(*(f"  {names[id(parameter)]}" for parameter in group["params"]), sep="\n")
    return [(g["initial_lr"], g["weight_decay"], count(g["params"]), len(g["params"])) for g in optimizer.param_groups]


@pytest.mark.parametrize("version", ["rtdetr", "rtdetrv2"])
@pytest.mark.parametrize("size", SIZES)
def test_parameters(size, version):
    model, recipe = build(f"{version}_{size}")
    trained = count(parameter for parameter in model.parameters() if parameter.requires_grad)
    found = count(model.parameters()), trained
    assert len(model.state_dict()) == ENTRIES[size]
    expected = {"rtdetr": V1_GROUPS, "rtdetrv2": V2_GROUPS}[version][size]
    assert [group[: len(expected[0])] for group in groups(model, recipe)] == expected
    model.fuse()
    assert (*found, count(model.parameters())) == SIZES[size]


def unused(name, layers):
    """Whether a parameter has no part in inference, of which the last class head of so many layers is needed."""
    section, _, index = name.removeprefix("transformer.decoder.").partition(".")
    layer = int(index.partition(".")[0]) if section in ("layers", "bbox_embed", "class_embed") else 0
    return section == "denoising_class_embed" or layer >= layers or (section == "class_embed" and layer != layers - 1)


@pytest.mark.parametrize("version", ["rtdetr", "rtdetrv2"])
@pytest.mark.parametrize("size", DEPLOYED)
def test_parameters_that_inference_uses(size, version):
    model, _ = build(f"{version}_{size}")
    model.fuse()
    layers, used, _ = DEPLOYED[size]
    assert count(p for name, p in model.named_parameters() if not unused(name, layers)) == used


@torch.no_grad()
def test_what_inference_does_not_use_changes_nothing():
    model = config.build(config.resolve("rtdetr/rtdetrv2_r50vd_m.py", {}, "tiny").recipe["model"]).eval()
    image = torch.rand(1, 3, 64, 64)
    before = model.forward_tensors(image)
    for name, parameter in model.named_parameters():
        if unused(name, model.transformer.eval_layers):
            parameter.fill_(torch.nan)
    after = model.forward_tensors(image)
    assert torch.equal(after.pred_logits, before.pred_logits) and torch.equal(after.pred_boxes, before.pred_boxes)


@pytest.mark.parametrize("size", DEPLOYED)
def test_operations_of_inference(size):
    """Against the authors' code, counted there without the products within attention.

    It computes a box for each of 8,400 tokens, where ours does for the 300 that are chosen; ours has the class head of
    each layer answer, where it has the last one's.
    """
    model, recipe = build(f"rtdetrv2_{size}")
    model.eval().fuse()
    with implementation("reference"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.forward_tensors(torch.empty(1, 3, 640, 640, device="meta"))
    layers, _, operations = DEPLOYED[size]
    attention = 4 * 400**2 * recipe["model"]["neck"]["embed_dim"] + layers * 4 * 300**2 * 256
    heads = 2 * 8100 * (2 * 256 * 256 + 256 * 4) - (layers - 1) * 2 * 300 * 256 * 80
    assert counter.get_total_flops() - attention + heads == pytest.approx(operations, abs=0.006e9)


@pytest.mark.parametrize("size", DISCRETE)
def test_offsets_are_not_trained_where_points_are_read_at_a_pixel(size):
    model, _ = build(f"rtdetrv2_{size}_discrete")
    frozen = {name.rsplit(".", 2)[1] for name, p in model.transformer.named_parameters() if not p.requires_grad}
    assert frozen == {"sampling_offsets"}
    assert count(parameter for parameter in model.parameters() if parameter.requires_grad) == DISCRETE[size]


@pytest.mark.parametrize(("points", "parameters"), [(1, 20_017_928), (2, 20_073_440), (3, 20_128_952)])
def test_parameters_with_fewer_points(points, parameters):
    model, _ = build("rtdetrv2_r18vd", **{"model.transformer.decoder.num_points": [points] * 3})
    assert count(model.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "epochs", "late", "multi_scale"),
    [
        ("rtdetrv2_r18vd", 120, 3, False),
        ("rtdetrv2_r34vd", 120, 3, True),
        ("rtdetrv2_r50vd_m", 84, 3, True),
        ("rtdetrv2_r50vd", 72, 1, True),
        ("rtdetrv2_r101vd", 72, 1, True),
        ("rtdetrv2_r18vd_discrete", 36, 3, False),
        ("rtdetrv2_r34vd_discrete", 12, 2, True),
        ("rtdetrv2_r50vd_m_discrete", 36, 3, True),
        ("rtdetrv2_r50vd_discrete", 12, 2, True),
    ],
)
def test_lengths_and_what_the_last_epochs_leave_out(name, epochs, late, multi_scale):
    recipe = config.resolve(f"rtdetr/{name}.py").recipe
    data, train = recipe["data"], recipe["train"]
    assert train["epochs"] == epochs and data["total_batch_size"] == 16 and train["clip_norm"] == 0.1
    released, paper = data["policies"]["released"], data["policies"]["paper"]
    assert data["policy"] == "released" and released["late_epochs"] == late and paper["late_epochs"] == 2
    sizes = [480, 512, 544, 576, 608, 640, 640, 640, 672, 704, 736, 768, 800]
    assert released["sizes"] == (sizes if multi_scale else None) and paper["sizes"] == sizes
    late_view = data["late_mapper"]["augmentation"]
    assert [late_view[key] for key in ("photometric", "zoom_out", "iou_crop", "flip")] == [0, 0, 0, 0.5]


def test_v1_is_trained_without_what_v2_added():
    for size in SIZES:
        recipe = config.resolve(f"rtdetr/rtdetr_{size}.py").recipe
        train, policy = recipe["train"], recipe["data"]["policies"][recipe["data"]["policy"]]
        assert (train["epochs"], train["amp"], train["warmup_iterations"]) == (72, False, 0)
        assert policy["late_epochs"] == 0 and policy["sizes"][0] == 480
        assert recipe["model"]["transformer"]["version"] == 1
