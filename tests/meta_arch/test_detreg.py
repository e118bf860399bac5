import pytest
import torch

from repro.meta_arch import deformable_detr, detr
from repro.meta_arch.detreg import DETReg, example
from repro.modeling.backbone import resnet
from repro.modeling.matching import Matches


@pytest.fixture
def model():
    torch.manual_seed(0)
    return example()


def test_the_target_encoder_is_frozen_and_always_evaluating(model):
    encoder = model.train().target_encoder
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert model.detector.training


def test_targets_are_the_mean_of_the_normalised_crops_features(model):
    crops = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    mean, std = model.detector.pixel_mean, model.detector.pixel_std
    expected = model.target_encoder((crops - mean) / std)["res3"].mean((2, 3))
    found = model.encode_crops([crops[:1], crops[1:1], crops[1:]])
    assert found.shape == (3, 1, 16) and not found.requires_grad
    torch.testing.assert_close(found[[0, 2], 0], expected)
    assert found[1].abs().sum() == 0


def test_crops_of_all_images_are_encoded_in_one_call(model, proposals):
    calls = []
    model.target_encoder.register_forward_hook(lambda module, args, output: calls.append(args[0].shape[0]))
    model(proposals(3, 0, 2))
    assert calls == [5]


def test_embedding_loss_by_hand(model):
    """Of two layers the last counts: queries 1, 2 with objects 0, 1; object 2 is padding. The head answers 0.5."""
    states = torch.zeros(1, 3, 32)
    targets = torch.tensor([2.0, 0.0, 9.0]).view(1, 3, 1).expand(1, 3, 16)
    queries, matched = torch.tensor([[[0, 0, 0]], [[1, 2, 0]]]), torch.tensor([[[True] * 3], [[True, True, False]]])
    with torch.no_grad():
        for layer in model.embedding_head.layers:
            layer.weight.zero_()
            layer.bias.fill_(0.5)
    assert model.embedding_loss(states, targets, Matches(queries, matched)).item() == pytest.approx((1.5 + 0.5) / 2)


def test_the_matched_query_learns_the_embedding_of_its_own_crop(model):
    states = torch.randn(2, 3, 32, requires_grad=True)
    matches = Matches(torch.tensor([[[1], [2]]]), torch.ones(1, 2, 1, dtype=torch.bool))
    model.embedding_loss(states, torch.rand(2, 1, 16), matches).backward()
    assert states.grad.abs().sum(-1).nonzero().tolist() == [[0, 1], [1, 2]]


def test_the_weight_scales_the_loss_and_nothing_else(model, proposals):
    model.detector.transformer.eval()
    before = model(proposals(2, 1))
    model.weight_embedding = 3.0
    after = model(proposals(2, 1))
    assert after.pop("loss_embedding").item() == pytest.approx(3 * before.pop("loss_embedding").item())
    assert {name: value.item() for name, value in after.items()} == {
        name: value.item() for name, value in before.items()
    }


def test_the_embedding_loss_trains_the_detector(model, proposals):
    model(proposals(3, 2))["loss_embedding"].backward()
    for part in (model.detector.backbone, model.detector.neck, model.detector.transformer):
        assert sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) > 0


def test_without_proposals_the_loss_is_zero_and_connected(model, proposals):
    loss = model(proposals(0, 0))["loss_embedding"]
    assert loss.item() == 0
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.embedding_head.parameters())


def test_crops_must_match_the_proposals(model, proposals):
    inputs = proposals(2, 3)
    inputs[1]["crops"] = inputs[1]["crops"][:1]
    with pytest.raises(ValueError, match="image 1 of the batch has 1 crops for 3 instances"):
        model(inputs)


def test_its_weights_are_the_detectors_after_dropping_the_heads(model):
    detector = deformable_detr.example(num_classes=7)
    dropped = ("class_embed", "embedding_head", "target_encoder")
    kept = {name: value for name, value in model.state_dict().items() if name.split(".")[0] not in dropped}
    missing, unexpected = detector.load_state_dict(kept, strict=False)
    assert unexpected == [] and missing == ["class_embed.0.weight", "class_embed.0.bias"]
    weights = model.detector.transformer.level_embed
    assert torch.equal(detector.transformer.level_embed, weights)


def test_inference_is_the_detectors(model, proposals):
    inputs = proposals(2)
    ours, theirs = model.eval()(inputs)[0]["instances"], model.detector.eval()(inputs)[0]["instances"]
    assert torch.equal(ours.pred_boxes.tensor, theirs.pred_boxes.tensor)


def test_around_detr(proposals):
    """The same task on the other detector: all losses, gradients but in the targets, the detector's own names."""
    torch.manual_seed(0)
    model = DETReg(detector=detr.example(), target_encoder=resnet(depth=10, width=8, out_features=["res3"]))
    losses = model.train()(proposals(3, 2))
    assert set(losses) == {f"loss_{kind}{layer}" for kind in ("ce", "bbox", "giou") for layer in ("", "_0")} | {
        "loss_embedding"
    }
    sum(losses.values()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {name for name, _ in model.named_parameters() if name.startswith("target_encoder.")}
    for part in (
        model.detector.backbone,
        model.detector.neck,
        model.detector.transformer.encoder,
        model.embedding_head,
    ):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters())
    assert {name.split(".")[0] for name in model.state_dict()} == {
        *(name for name, _ in model.detector.named_children() if name != "criterion"),
        "embedding_head",
        "target_encoder",
    }
