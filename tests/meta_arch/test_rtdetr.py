"""RT-DETR's sizes against numbers measured with the authors' code, its losses against cases worked by hand."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from repro.meta_arch.rtdetr import example
from repro.modeling.criterion import Predictions
from repro.modeling.matching import Targets
from repro.modeling.transformer import RTDETRTransformer


@pytest.fixture
def model():
    torch.manual_seed(0)
    return example()


def entry(*boxes, size=96):
    instances = Instances((size, size))
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).view(-1, 4))
    instances.gt_classes = torch.arange(len(boxes))
    image = torch.randint(256, (3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return {"image": image, "instances": instances}


def test_every_layer_the_encoder_and_the_denoising_queries_have_losses(model):
    """3 · (2 L + 1), as the authors' code has."""
    losses = model.train()([entry([8, 8, 40, 40])])
    kinds = ("loss_ce", "loss_bbox", "loss_giou")
    assert set(losses) == {f"{kind}{suffix}" for kind in kinds for suffix in ("", "_0", "_enc", "_dn", "_dn_0")}


def test_pixels_are_in_0_to_1_and_nothing_else(model):
    images, mask = model.preprocess([torch.full((3, 4, 4), 255, dtype=torch.uint8)])
    assert mask is None and torch.equal(images, torch.ones(1, 3, 4, 4))


def test_losses_stand_under_their_layers_names(model):
    """The encoder misses the object by a tenth, layer 0 by two, the last by three; half of that when denoising."""
    targets = Targets.pad([torch.tensor([1])], [torch.tensor([[0.5, 0.5, 0.2, 0.2]])])
    noise = model.denoising(targets, 3)

    def predictions(queries, *misses):
        boxes = targets.boxes_cxcywh_rel.expand(len(misses), 1, queries, 4).clone()
        boxes[..., 0] += torch.tensor(misses).view(-1, 1, 1)
        return Predictions(torch.zeros(len(misses), 1, queries, 3), boxes, boxes)

    losses = model.losses(predictions(20, 0.05, 0.1), predictions(4, 0.1, 0.2, 0.3), targets, noise)
    found = {name: value.item() for name, value in losses.items() if name.startswith("loss_bbox")}
    assert found == pytest.approx(
        {
            "loss_bbox_enc": 5 * 0.1,
            "loss_bbox_0": 5 * 0.2,
            "loss_bbox": 5 * 0.3,
            "loss_bbox_dn_0": 5 * 0.05,  # ten groups hold the object, and the sum is divided by ten
            "loss_bbox_dn": 5 * 0.1,
        }
    )


def test_without_objects_denoising_counts_nothing(model):
    losses = model.train()([entry(), entry()])
    assert {value.item() for name, value in losses.items() if "_dn" in name} == {0}
    assert losses["loss_ce"] > 0
    sum(losses.values()).backward()
    assert model.denoising_class_embed.weight.grad is not None


def test_the_other_queries_do_not_see_denoising_ones(model):
    images = torch.rand(2, 3, 96, 96)
    memory = model.transformer.encode(model.neck(model.eval().backbone(images)))
    queries = model.transformer.start(memory)
    noise = model.denoising(model.targets([entry([8, 8, 40, 40])["instances"]] * 2), 3)
    _, found = model.denoise(queries, memory, noise)
    expected = model.predict(queries, memory)
    torch.testing.assert_close(found.logits[1:], expected.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.boxes_cxcywh_rel[1:], expected.boxes_cxcywh_rel, rtol=0, atol=1e-5)


def test_inference_may_end_before_the_last_layer(model):
    model.transformer.eval_layers = 1
    images = torch.rand(1, 3, 96, 96)
    assert len(model.train().forward_tensors(images).logits) == 2
    early = model.eval().forward_tensors(images)
    model.transformer.eval_layers = None
    both = model.forward_tensors(images)
    assert len(early.logits) == 1
    torch.testing.assert_close(early.pred_boxes, both.boxes_cxcywh_rel[0])
    torch.testing.assert_close(early.pred_logits, both.logits[0])


def test_versions_start_from_other_weights():
    def spread(version):
        torch.manual_seed(0)
        transformer = RTDETRTransformer(example().transformer.decoder, example().transformer.queries, 32, None, version)
        return transformer.decoder.layers[0].linear1.weight.abs().max().item()

    assert spread(1) == pytest.approx(32**-0.5, rel=0.01)  # the framework's bound, of a linear layer
    assert spread(2) == pytest.approx((6 / (32 + 64)) ** 0.5, rel=0.01)  # Xavier's
    with pytest.raises(ValueError, match="version is 3"):
        spread(3)


@torch.no_grad()
@pytest.mark.parametrize(("version", "finite"), [(1, True), (2, False)])
def test_version_1_cuts_off_what_overflows_half_precision(version, finite):
    transformer = RTDETRTransformer(example().transformer.decoder, example().transformer.queries, 32, None, version)
    memory = transformer.encode([torch.randn(1, 32, side, side) for side in (8, 4, 2)])
    for layer in transformer.decoder.layers:
        layer.linear2.register_forward_hook(lambda module, inputs, output: torch.full_like(output, torch.inf).half())
    heads = torch.nn.ModuleList(torch.nn.Linear(32, 4) for _ in transformer.decoder.layers)
    decoded = transformer.decode(transformer.start(memory), memory, heads)
    assert decoded.states.isfinite().all().item() is finite


def test_more_layers_than_there_are_cannot_run():
    with pytest.raises(ValueError, match="eval_layers is 3; the decoder has 2"):
        RTDETRTransformer(example().transformer.decoder, example().transformer.queries, 32, eval_layers=3)


@torch.no_grad()
def test_fused_it_detects_the_same(model):
    inputs = [entry()]
    before = model.eval()(inputs)[0]["instances"]
    model.fuse()
    after = model(inputs)[0]["instances"]
    torch.testing.assert_close(after.pred_boxes.tensor, before.pred_boxes.tensor, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(after.scores, before.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_learns_two_images_by_heart(model):
    """Two squares of two colours: found, classified and placed after some steps."""
    first, second = entry([8, 16, 48, 56]), entry([40, 40, 80, 88])
    for sample, label, channel in ((first, 0, 0), (second, 2, 2)):
        x0, y0, x1, y1 = sample["instances"].gt_boxes.tensor[0].int().tolist()
        sample["image"] = torch.full((3, 96, 96), 128, dtype=torch.uint8)
        sample["image"][channel, y0:y1, x0:x1] = 255
        sample["instances"].gt_classes[:] = label
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(200):
        loss = sum(model.train()([first, second]).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for found, sample in zip(model.eval()([first, second]), (first, second), strict=True):
        best = found["instances"][:1]
        assert best.pred_classes.item() == sample["instances"].gt_classes.item() and best.scores.item() > 0.5
        assert (best.pred_boxes.tensor[0] - sample["instances"].gt_boxes.tensor[0]).abs().max() < 6
