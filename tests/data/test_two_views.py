"""A box that is drawn in one view lands on the same object in the other, and batches of both kinds are reproducible."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from repro.data.augmentations.affine import Affine
from repro.data.augmentations.geometry import Flip, ViewInput
from repro.data.augmentations.soft_teacher import (
    BilinearResize,
    Erase,
    LabelledAugmentation,
    StrongAugmentation,
    WeakAugmentation,
)
from repro.data.mapper import TrainMapper
from repro.data.mixed_loader import mixed_loader
from repro.data.mixed_order import Mix
from repro.data.two_views import PseudoLabelMapper, TwoViewMapper
from repro.errors import DataError

SIZES = {"short_edges": (60, 140), "max_size": 220}


def painted(path, box) -> dict:
    """A black image with one white rectangle, on disk."""
    from PIL import Image

    pixels = np.zeros((90, 130, 3), np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = 255
    Image.fromarray(pixels).save(path)
    return {"file_name": str(path), "image_id": 1, "height": 90, "width": 130, "annotations": []}


def carried(box: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    """Hull of a box's corners after a matrix, clipped: what a detector does with a pseudo box."""
    x0, y0, x1, y1 = box
    corners = np.array([[x0, y0, 1], [x1, y0, 1], [x0, y1, 1], [x1, y1, 1]]) @ matrix.T
    corners = corners[:, :2] / corners[:, 2:]
    return np.clip([*corners.min(0), *corners.max(0)], 0, [width, height, width, height])


def white(image: torch.Tensor) -> np.ndarray:
    """Box around the white pixels of a view."""
    rows, columns = np.nonzero(image.numpy().min(0) > 190)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=float)


class PlainStrong(StrongAugmentation):
    """Without patches and colours, so that the white rectangle can be found again."""

    def get_transform(self, image, rng, channels):
        drawn = super().get_transform(image, rng, channels)
        return type(drawn)([step for step in drawn.transforms if isinstance(step, BilinearResize | Flip | Affine)])


def test_a_box_of_the_weak_view_lands_on_the_object_in_the_strong_view(tmp_path):
    """On pixels: found in the weak image, carried by the matrices, and compared with where it is in the strong one."""
    record = painted(tmp_path / "a.png", (50, 30, 86, 62))
    mapper = TwoViewMapper(WeakAugmentation(**SIZES), PlainStrong(**SIZES))
    kinds = set()
    for seed in range(60):
        views = mapper(record, np.random.default_rng(seed))
        weak, strong = views["weak"], views["strong"]
        there = (strong["matrix"] @ torch.linalg.inv(weak["matrix"])).numpy()
        back = (weak["matrix"] @ torch.linalg.inv(strong["matrix"])).numpy()
        np.testing.assert_allclose(there @ back, np.eye(3), atol=1e-9)
        found = carried(white(weak["image"]), there, *strong["image"].shape[1:])
        # A turned rectangle touches each side of the hull with a corner only, whose pixels are grey.
        np.testing.assert_allclose(found, white(strong["image"]), atol=6.0)
        kinds.add(tuple(np.sign(np.round(strong["matrix"][:2, :2].numpy(), 6)).ravel()))
    assert len(kinds) >= 4  # flipped or not, turned or sheared or neither


def test_the_matrix_of_a_view_is_exact_for_resize_and_flip(tmp_path):
    record = painted(tmp_path / "a.png", (50, 30, 86, 62))
    for seed in range(20):
        view = TwoViewMapper(WeakAugmentation(**SIZES), WeakAugmentation(**SIZES))(record, np.random.default_rng(seed))
        height, width = view["strong"]["image"].shape[1:]
        sign = np.sign(view["strong"]["matrix"][0, 0].item())
        scaled = [[sign * width / 130, 0, 0 if sign > 0 else width], [0, height / 90, 0], [0, 0, 1]]
        np.testing.assert_allclose(view["strong"]["matrix"], scaled, atol=1e-9)


def test_views_hold_what_the_detectors_expect(smoke):
    sample = TwoViewMapper(WeakAugmentation(**SIZES), StrongAugmentation(**SIZES))(smoke[0], np.random.default_rng(0))
    assert set(sample) == {"height", "width", "image_id", "file_name", "weak", "strong"}
    for view in (sample["weak"], sample["strong"]):
        assert view["image"].dtype == torch.uint8 and view["image"].shape[0] == 3
        assert view["matrix"].dtype == torch.float64 and view["matrix"].shape == (3, 3)
    assert sample["weak"]["image"].shape != sample["strong"]["image"].shape  # sizes are drawn apart


def test_pseudo_labels_are_marked(smoke):
    class Away(WeakAugmentation):
        def get_transform(self, image, rng):
            height, width = image.shape[1:]
            return Affine(np.array([[1.0, 0.0, 10 * width], [0.0, 1.0, 0.0]]), height, width)

    record = next(one for one in smoke if any(not entry["iscrowd"] for entry in one["annotations"]))
    lost = PseudoLabelMapper(Away())(record, np.random.default_rng(0))
    assert lost["pseudo"] is True and len(lost["instances"]) == 0
    kept = PseudoLabelMapper(WeakAugmentation(**SIZES))(record, np.random.default_rng(0))
    assert kept["pseudo"] is True and len(kept["instances"]) > 0


def two_sources(smoke):
    labelled = smoke[:5], TrainMapper(LabelledAugmentation(**SIZES), "BGR")
    unlabelled = smoke[5:], TwoViewMapper(WeakAugmentation(**SIZES), StrongAugmentation(**SIZES))
    return labelled, unlabelled


def take(loader, count):
    def plain(sample):
        views = [sample["weak"], sample["strong"]] if "weak" in sample else [sample]
        boxes = [] if "weak" in sample else sample["instances"].gt_boxes.tensor.tolist()
        return sample["image_id"], boxes, [view["image"].numpy().tobytes() for view in views]

    return [[plain(sample) for sample in samples] for samples in itertools.islice(loader, count)]


@pytest.fixture(scope="module")
def expected(smoke):
    return take(mixed_loader(*two_sources(smoke), mix=Mix(8, 4), seed=3), 6)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_restarts_change_nothing(smoke, expected, workers):
    resumed = mixed_loader(*two_sources(smoke), mix=Mix(8, 4), seed=3, start_iteration=2, workers=workers)
    assert take(resumed, 4) == expected[2:]


def test_ranks_share_the_same_batches(smoke, expected):
    shares = [
        take(mixed_loader(*two_sources(smoke), mix=Mix(8, 4), seed=3, rank=rank, world=2), 6) for rank in range(2)
    ]
    assert [first + second for first, second in zip(*shares, strict=True)] == expected
    for share in itertools.chain(*shares):  # each rank has both kinds in every step
        assert 0 < sum(len(views) == 2 for _, _, views in share) < 4


def test_shares_that_cannot_be_dealt_out_are_refused(smoke):
    with pytest.raises(DataError, match="evenly to 3"):
        mixed_loader(*two_sources(smoke), mix=Mix(8, 4), seed=3, world=3)


def test_a_view_is_drawn_anew_each_time_an_image_is_seen(smoke, expected):
    seen = {}
    for image_id, _, views in itertools.chain(*expected):
        seen.setdefault(image_id, []).append(views)
    again = [views for views in seen.values() if len(views) > 1]
    assert again and all(first != second for first, second, *_ in again)


def test_colours_are_told_the_order_of_channels(smoke):
    """The same generator, so the same operations, on red-first and blue-first pixels: the same picture."""
    for seed in range(30):
        images = []
        for channels in ("RGB", "BGR"):
            mapper = TrainMapper(LabelledAugmentation(**SIZES), channels)
            images.append(mapper(smoke[0], np.random.default_rng(seed))["image"])
        assert (images[0].int() - images[1].flip(0).int()).abs().max() <= 1


def test_patches_leave_boxes_and_hide_pixels():
    image = torch.zeros(3, 40, 50, dtype=torch.uint8)
    view = ViewInput(image, np.array([[5.0, 5.0, 30.0, 30.0]]), np.random.default_rng(0), image[:1] + 1)
    view.transform(Erase([(10, 4, 20, 12)]))
    assert (view.image[:, 4:12, 10:20] == 125).all() and (view.image == 125).sum() == 3 * 80
    assert (view.planes[:, 4:12, 10:20] == 0).all() and (view.planes == 0).sum() == 80
    assert view.boxes.tolist() == [[5.0, 5.0, 30.0, 30.0]] and not image.any()
