"""How the stages follow each other: interleaving, weights, gradients, ensembles."""

from __future__ import annotations

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import BitMasks, Boxes, ImageList, Instances

from repro.modeling.htc import BoxHeads, HTCROIHeads, MaskHeads, RegionFeatures, StageSampler
from repro.modeling.htc.roi_heads import crop_masks

SIZE = (64, 64)
LEVELS = ("p2", "p3", "p4", "p5")


def build(**settings):
    torch.manual_seed(0)
    heads = HTCROIHeads(
        box=BoxHeads(2, ShapeSpec(channels=4, height=3, width=3), fc_dims=[8]),
        mask=MaskHeads(3, 2, channels=4, num_convs=1),
        regions=RegionFeatures(LEVELS, box_resolution=3, mask_resolution=4, canonical_box_size=32),
        sampler=StageSampler(2, positive_fraction=1.0),  # all boxes are drawn
        **settings,
    )
    for layer in heads.box.bbox_pred:
        torch.nn.init.normal_(layer.weight, std=0.3)  # so that boxes move
    return heads


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(2, 4, 16 >> i, 16 >> i, generator=generator) for i, name in enumerate(LEVELS)}


@pytest.fixture
def targets():
    """One image with two objects and one with none."""
    some = Instances(SIZE, gt_boxes=Boxes(torch.tensor([[4.0, 4, 40, 40], [20, 20, 60, 60]])))
    some.gt_classes = torch.tensor([0, 1])
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 4:40, 4:20] = True
    masks[1, 20:60, 20:60] = True
    some.gt_masks = BitMasks(masks)
    none = Instances(SIZE, gt_boxes=Boxes(torch.zeros(0, 4)), gt_classes=torch.zeros(0, dtype=torch.long))
    none.gt_masks = BitMasks(torch.zeros(0, *SIZE, dtype=torch.bool))
    return [some, none]


BOXES = [torch.tensor([[5.0, 5, 38, 42], [18, 22, 58, 63], [0, 30, 20, 60]]), torch.tensor([[10.0, 10, 30, 30]])]


def test_losses_have_the_stages_weights(features, targets):
    """Fails if the weight of one stage, or of one loss in it, is another."""
    weighted, plain = build().train(), build(stage_weights=(1.0, 1.0, 1.0)).train()
    found, expected = weighted.losses(features, BOXES, targets), plain.losses(features, BOXES, targets)
    names = {f"{name}_stage{stage}" for name in ("loss_cls", "loss_box_reg", "loss_mask") for stage in range(3)}
    assert found.keys() == expected.keys() == names
    for name, value in found.items():
        assert value > 0
        torch.testing.assert_close(value, {"0": 1.0, "1": 0.5, "2": 0.25}[name[-1]] * expected[name])


def test_box_and_mask_heads_take_turns(features, targets, monkeypatch):
    """A stage's mask head and the next stage's box head both start from the boxes that this stage has refined."""
    heads, steps = build().train(), []
    for kind in ("box", "mask"):
        seen = getattr(heads.regions, kind)

        def spy(features, boxes, kind=kind, seen=seen):
            steps.append((kind, [each.clone() for each in boxes]))
            return seen(features, boxes)

        monkeypatch.setattr(heads.regions, kind, spy)
    heads.losses(features, BOXES, targets)
    assert [kind for kind, _ in steps] == ["box", "mask"] * 3
    truth = targets[0].gt_boxes.tensor
    proposals = BOXES
    for stage in range(3):
        seen = steps[2 * stage][1]
        for given, boxes, own in zip(proposals, seen, (truth, truth[:0]), strict=True):
            assert as_set(boxes) == as_set(given) | as_set(own)
        _, deltas = heads.run_box(features, seen, stage)
        moved = heads.decode(deltas, seen, [SIZE, SIZE], stage)
        # An object's own box is put among the boxes of each stage anew, so what a stage makes of it goes nowhere.
        proposals = [
            new[[tuple(box.tolist()) not in as_set(truth) for box in old]] for new, old in zip(moved, seen, strict=True)
        ]
        masked = as_set(steps[2 * stage + 1][1][0])
        assert masked <= as_set(proposals[0]) | as_set(truth) and as_set(truth) <= masked
        assert len(steps[2 * stage + 1][1][1]) == 0  # no object, no mask


def as_set(boxes):
    return {tuple(round(value, 3) for value in box) for box in boxes.tolist()}


def test_gradients_reach_the_features_undivided(features, targets):
    """Detectron2's cascade gives them a third. Compared with a finite difference along one direction."""
    heads = build().train()
    direction = {name: torch.rand_like(value) for name, value in features.items()}
    samples = [each.boxes_xyxy_abs for each in heads.sample(BOXES, targets, 0)]

    def logits(step):
        moved = {name: value + step * direction[name] for name, value in features.items()}
        return heads.run_box(moved, samples, 0)[0].pow(2).sum()

    step = torch.zeros((), requires_grad=True)
    (slope,) = torch.autograd.grad(logits(step), step)
    with torch.no_grad():
        difference = (logits(torch.tensor(0.01)) - logits(torch.tensor(-0.01))) / 0.02
    torch.testing.assert_close(slope, difference, rtol=0.02, atol=1e-5)


def test_the_ensemble_is_of_logits_and_boxes_are_those_of_the_last_stage(features):
    heads = build().eval()
    with torch.no_grad():
        boxes, probabilities = heads.cascade(features, BOXES, [SIZE, SIZE])
        logits, current = [], BOXES
        for stage in range(3):
            found, deltas = heads.run_box(features, current, stage)
            logits.append(found)
            current = heads.decode(deltas, current, [SIZE, SIZE], stage)
    torch.testing.assert_close(torch.cat(probabilities), ((logits[0] + logits[1] + logits[2]) / 3).softmax(-1))
    for one, other in zip(boxes, current, strict=True):
        assert torch.equal(one, other)
    assert (torch.cat(boxes) - torch.cat(BOXES)).abs().max() > 1


def test_images_without_masks_train_boxes_only(features, targets):
    heads = build().train()
    for each in targets:
        each.remove("gt_masks")
    losses = heads.losses(features, BOXES, targets)
    assert all(losses[f"loss_mask_stage{stage}"] == 0 for stage in range(3))
    assert all(losses[f"loss_cls_stage{stage}"] > 0 for stage in range(3))
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in heads.parameters())


def test_pixels_that_do_not_count_change_nothing(features, targets):
    def masks(valid, filled):
        objects = Instances(SIZE, **targets[0].get_fields())
        pixels = objects.gt_masks.tensor.clone()
        pixels[:, :, 32:] = filled
        objects.gt_masks = BitMasks(pixels)
        if valid is not None:
            objects.gt_masks_valid = valid
        return [build().train().losses(features, BOXES, [objects, targets[1]])[f"loss_mask_stage{i}"] for i in range(3)]

    left = torch.ones(2, *SIZE, dtype=torch.bool)
    left[:, :, 32:] = False
    assert masks(left, True) == masks(left, False)
    assert masks(None, True) != masks(None, False)


def test_masks_are_cut_in_the_frame_of_the_box():
    masks = torch.zeros(2, 8, 8)
    masks[1, :, 4:] = 1
    cut = crop_masks(masks, torch.tensor([[2.0, 0, 6, 4], [0, 0, 4, 4]]), torch.tensor([1, 0]), side=4)
    assert (cut[0] > 0.5).int().tolist() == [[0, 0, 1, 1]] * 4
    assert cut[1].sum() == 0


def test_detections_have_masks(features):
    heads = build().eval()
    proposals = [Instances(SIZE, proposal_boxes=Boxes(boxes)) for boxes in BOXES]
    with torch.no_grad():
        found, losses = heads(ImageList(torch.zeros(2, 3, *SIZE), [SIZE, SIZE]), features, proposals)
    assert losses == {}
    for each in found:
        assert each.pred_masks.shape == (len(each), 1, 8, 8) and len(each) > 0
        assert each.pred_masks.min() >= 0 and each.pred_masks.max() <= 1


def test_stages_must_be_of_one_number():
    with pytest.raises(ValueError, match="as many of each"):
        build(stage_weights=(1.0, 0.5))
