"""RT-DETR's augmentation: each step by hand, what is drawn against its probabilities, and that nothing else draws."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from fvcore.transforms.transform import TransformList

from repro.data.augmentations.geometry import Flip, Resize, ViewInput
from repro.data.augmentations.iou_crop import IoUCrop
from repro.data.augmentations.multi_scale import MultiScale
from repro.data.augmentations.photometric import Recolour
from repro.data.augmentations.rtdetr import DropSmallBoxes, Pad, RTDETRAugmentation, StretchResize

BOXES = np.array([[10.0, 10, 60, 50], [70, 20, 90, 40]])


def image(height=60, width=100):
    return torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(count, boxes=BOXES, **settings):
    augmentation = RTDETRAugmentation((64, 64), **settings)
    return [augmentation.get_transform(image(), boxes, np.random.default_rng(seed)).transforms for seed in range(count)]


def test_order():
    """Colours, canvas, crop, flip, size: where all happen, they happen like this."""
    everything = drawn(30, zoom_out=1.0, iou_crop=1.0, flip=1.0)
    kinds = [Recolour, Pad, IoUCrop, DropSmallBoxes, Flip, Resize, DropSmallBoxes]
    found = [[type(step) for step in steps] for steps in everything]
    assert kinds in found
    assert all(steps in (kinds, [kind for kind in kinds if kind is not IoUCrop]) for steps in found)


def test_how_often_each_happens():
    """The crop has seven options, one of which leaves the image as it is."""
    everything = drawn(400)
    share = {
        kind: np.mean([any(type(s) is kind for s in steps) for steps in everything]) for kind in (Pad, Flip, IoUCrop)
    }
    assert share[Pad] == pytest.approx(0.5, abs=0.08) and share[Flip] == pytest.approx(0.5, abs=0.08)
    assert share[IoUCrop] == pytest.approx(0.8 * 6 / 7, abs=0.08)
    colours = [steps[0].drawn for steps in everything]
    for key, low, high in (
        ("brightness_factor", 0.875, 1.125),
        ("contrast_factor", 0.5, 1.5),
        ("saturation_factor", 0.5, 1.5),
        ("hue_factor", -0.05, 0.05),
    ):
        values = [each[key] for each in colours if each[key] is not None]
        assert len(values) / 400 == pytest.approx(0.5, abs=0.08)
        assert low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high
    assert np.mean([each["channel_permutation"] is not None for each in colours]) == pytest.approx(0.5, abs=0.08)
    sides = [step.new_width / 100 for steps in everything for step in steps if type(step) is Pad]
    assert 1 <= min(sides) < 1.3 and 3.7 < max(sides) <= 4


def test_without_the_strong_ones():
    """What RT-DETRv2 leaves on in its last epochs."""
    for steps in drawn(20, photometric=0.0, zoom_out=0.0, iou_crop=0.0):
        assert [type(s) for s in steps if type(s) is not Flip] == [DropSmallBoxes, Resize, DropSmallBoxes]


def test_a_canvas_by_hand():
    pad = Pad(60, 100, left=5, top=7, right=11, bottom=13)
    assert (pad.new_height, pad.new_width) == (80, 116)
    canvas = pad.apply_image(image())
    assert canvas.shape == (3, 80, 116) and torch.equal(canvas[:, 7:67, 5:105], image())
    assert canvas.sum() == image().sum()  # black around it
    assert pad.apply_box(BOXES)[0].tolist() == [15, 17, 65, 57]


def test_a_crop_drops_boxes_whose_centre_is_outside_and_clips_the_others():
    crop = IoUCrop(20, 0, 60, 40, 100, 60, inside=np.array([True, False]))
    assert crop.apply_box(BOXES).tolist() == [[0, 10, 40, 40], [0, 0, 0, 0]]
    assert crop.apply_image(image()).shape == (3, 40, 60)


def test_crops_keep_a_box_with_the_overlap_that_was_drawn():
    for steps in drawn(60, iou_crop=1.0, zoom_out=0.0):
        for crop in [step for step in steps if type(step) is IoUCrop]:
            centres = (BOXES[:, :2] + BOXES[:, 2:]) / 2
            low, high = np.array([crop.x0, crop.y0]), np.array([crop.x0 + crop.w, crop.y0 + crop.h])
            assert crop.inside.tolist() == ((low < centres) & (centres < high)).all(1).tolist() and crop.inside.any()
            assert 0.5 <= crop.w / crop.h <= 2 and crop.w >= 0.3 * 100 - 1 and crop.h >= 0.3 * 60 - 1


def test_steps_together_are_the_steps_one_after_the_other():
    """To the bit, on images of either memory layout; with and without each step, and where nothing is seen."""
    layouts = image(), image().permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for seed in range(60):
        fused = RTDETRAugmentation((64, 48)).get_transform(layouts[0], BOXES, np.random.default_rng(seed))
        expected = TransformList(fused.transforms).apply_image(layouts[0])
        assert all(torch.equal(fused.apply_image(each), expected) for each in layouts)
    outside = [Pad(60, 100, 50, 50, 50, 50), IoUCrop(0, 0, 40, 30, 200, 160, np.zeros(2, bool)), Resize(30, 40, 64, 48)]
    for crop in (outside[1], IoUCrop(155, 120, 40, 30, 200, 160, np.zeros(2, bool))):
        assert not type(fused)([outside[0], crop, outside[2]]).apply_image(image()).any()


def test_small_boxes_lose_their_area():
    boxes = np.array([[0.0, 0, 1, 1], [0, 0, 0.9, 5], [3, 3, 3, 9]])
    assert DropSmallBoxes().apply_box(boxes).tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


def view(seed, boxes=BOXES):
    found = ViewInput(image(), boxes, np.random.default_rng(seed))
    RTDETRAugmentation((64, 64))(found)
    return found


def test_a_sample_follows_from_its_generator_and_leaves_the_global_one_alone():
    torch.manual_seed(0)
    first = view(5)
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)
    torch.manual_seed(1)
    second = view(5)
    assert torch.equal(first.image, second.image) and np.array_equal(first.boxes, second.boxes)
    assert not torch.equal(first.image, view(6).image)


def test_boxes_stay_on_their_objects():
    """A box painted white on black is found where its box says, whatever happened to the image."""
    boxes, seen = np.array([[20.0, 10, 70, 50]]), 0
    picture = torch.zeros(3, 60, 100, dtype=torch.uint8)
    picture[:, 10:50, 20:70] = 255
    for seed in range(30):
        found = ViewInput(picture, boxes, np.random.default_rng(seed))
        RTDETRAugmentation((128, 128), photometric=0.0)(found)
        assert found.image.shape == (3, 128, 128) and found.image.dtype == torch.uint8
        x0, y0, x1, y1 = found.boxes[0]
        rows, columns = (found.image[0] > 128).nonzero().unbind(1)
        if x1 > x0:
            seen += 1
            painted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert np.abs(np.array(painted) - [x0, y0, x1, y1]).max() <= 1.5
    assert seen > 25


@pytest.mark.filterwarnings("error")
def test_an_image_without_boxes():
    found = view(3, np.zeros((0, 4)))
    assert found.image.shape == (3, 64, 64) and found.boxes.shape == (0, 4)


def test_a_stretch_has_nothing_random():
    found = ViewInput(image(), BOXES, np.random.default_rng(0))
    StretchResize((120, 100))(found)
    assert found.image.shape == (3, 120, 100)
    assert found.boxes[0].tolist() == [10, 20, 60, 100]


def test_a_batch_is_resized_together_to_the_nearest_pixel():
    instances = Instances((4, 4), gt_boxes=Boxes(torch.tensor([[1.0, 0, 2, 4]])), gt_classes=torch.tensor([2]))
    sample = {"image": torch.arange(16, dtype=torch.uint8).view(1, 4, 4), "instances": instances, "image_id": 7}
    found = MultiScale([2])([sample, sample], np.random.default_rng(0))
    assert found[1]["image"].tolist() == [[[0, 2], [8, 10]]] and found[0]["image_id"] == 7
    assert found[0]["instances"].image_size == (2, 2)
    assert found[0]["instances"].gt_boxes.tensor.tolist() == [[0.5, 0, 1, 2]]
    assert instances.gt_boxes.tensor.tolist() == [[1, 0, 2, 4]]  # what was given stays
    sides = [MultiScale([2, 6, 6, 6])([sample], np.random.default_rng(i))[0]["image"].shape[1] for i in range(200)]
    assert np.mean([side == 6 for side in sides]) == pytest.approx(0.75, abs=0.1)
