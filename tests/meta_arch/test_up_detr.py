import pytest
import torch

from repro.meta_arch import deformable_detr, detr
from repro.meta_arch.up_detr import UPDETR
from repro.modeling.criterion import Predictions
from repro.modeling.matching import Matches


@pytest.fixture(params=["detr", "deformable_detr"])
def model(request):
    """Four groups of five queries."""
    torch.manual_seed(0)
    module = {"detr": detr, "deformable_detr": deformable_detr}[request.param]
    return UPDETR(detector=module.example(), num_groups=4)


def test_only_queries_of_a_group_see_each_other(model):
    mask = model.group_mask()
    expected = torch.block_diag(*[torch.ones(5, 5)] * 4) == 0
    assert torch.equal(mask, expected)


def test_a_patch_reaches_its_own_group_only(model):
    """Through all of the decoder: a change of patch 1 changes the answers of queries 5 to 9 and no others."""
    model.eval()
    detector = model.detector
    memory = detector.transformer.encode(detector.neck(detector.backbone(torch.rand(1, 3, 96, 96))))

    def states(features):
        queries = detector.transformer.start(memory, model.prompt(features, [4]))
        return detector.predict(queries, memory, model.group_mask()).states

    features = torch.rand(1, 4, 64)
    before = states(features)
    features[0, 1] += 1
    changed = (states(features) - before).abs().sum((0, 1, 3)) > 0
    assert changed.nonzero().flatten().tolist() == [5, 6, 7, 8, 9]


def test_groups_without_a_patch_are_told_nothing(model):
    prompt = model.eval().prompt(torch.rand(2, 3, 64), [3, 1])
    there = prompt.abs().sum(-1) > 0
    assert there.sum(1).tolist() == [15, 5] and there[1, :5].all()
    assert torch.equal(prompt[0, 0], prompt[0, 4]) and not torch.equal(prompt[0, 4], prompt[0, 5])


def test_queries_lose_their_patch_in_training_only(model):
    features = torch.rand(500, 4, 64)
    lost = (model.train().prompt(features, [4] * 500) == 0).all(-1)
    assert lost.float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert lost[:, :5].float().mean(0).max() < 0.2  # each query on its own
    assert not (model.eval().prompt(features, [4] * 500) == 0).all(-1).any()


def test_feature_loss_by_hand(model):
    """Query 1 has object 0, which its vector misses by 90 degrees; query 2 object 1, by 60; object 2 is padding."""
    with torch.no_grad():
        for layer in model.feature_align.layers:
            layer.weight.zero_()
            layer.bias.zero_()
        model.feature_align.layers[-1].bias[0] = 7.0
    features = torch.zeros(1, 3, 64)
    features[0, 0, 1], features[0, 1, 0], features[0, 1, 1] = 3.0, 1.0, 3**0.5
    states = torch.zeros(2, 1, 20, 32)
    predictions = Predictions(torch.zeros(2, 1, 20, 4), torch.zeros(2, 1, 20, 4), states)
    matches = Matches(torch.tensor([[[1, 2, 0]], [[1, 0, 0]]]), torch.tensor([[[1, 1, 0]], [[1, 0, 0]]]).bool())
    model.weight_feature = 2.0
    found = model.feature_loss(predictions, features, matches)
    assert found.tolist() == pytest.approx([2 * (2 + 1), 2 * 2])


def test_the_matched_query_rebuilds_the_patch_that_it_was_matched_to(model):
    states = torch.randn(1, 1, 20, 32, requires_grad=True)
    predictions = Predictions(torch.zeros(1, 1, 20, 4), torch.zeros(1, 1, 20, 4), states)
    matches = Matches(torch.tensor([[[17]]]), torch.ones(1, 1, 1, dtype=torch.bool))
    model.feature_loss(predictions, torch.rand(1, 1, 64), matches).sum().backward()
    assert states.grad.abs().sum(-1).nonzero().tolist() == [[0, 0, 17]]


def test_losses_of_every_layer_are_divided_by_the_number_of_patches(model, proposals, monkeypatch):
    monkeypatch.setattr(UPDETR, "feature_loss", lambda self, *_: torch.tensor([3.0, 9.0]))
    losses = model(proposals(2, 1))
    assert losses["loss_feature_0"].item() == 1 and losses["loss_feature"].item() == 3


def test_patches_are_encoded_without_gradient(model, proposals):
    model(proposals(4, 4))["loss_feature"].backward()
    assert model.patch2query.weight.grad.abs().sum() > 0
    for parameter in model.detector.parameters():
        parameter.grad = None
    features = torch.rand(1, 2, 64, requires_grad=True)
    model.prompt(features, [2]).sum().backward()
    assert all(parameter.grad is None for parameter in model.detector.backbone.parameters())


def test_its_weights_are_the_detectors_after_dropping_the_heads(model):
    module = deformable_detr if isinstance(model.detector, deformable_detr.DeformableDETR) else detr
    dropped = ("class_embed", "patch2query", "feature_align")
    kept = {name: value for name, value in model.state_dict().items() if name.split(".")[0] not in dropped}
    missing, unexpected = module.example(num_classes=7).load_state_dict(kept, strict=False)
    assert unexpected == [] and missing == ["class_embed.0.weight", "class_embed.0.bias"]


def test_more_patches_than_groups_are_refused(model, proposals):
    with pytest.raises(ValueError, match="5 patches for 4 groups"):
        model(proposals(5))


def test_groups_must_be_of_equal_size():
    with pytest.raises(ValueError, match="20 queries cannot be split into 3 groups"):
        UPDETR(detector=detr.example(), num_groups=3)
