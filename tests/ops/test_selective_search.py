"""Selective Search: the operator against its NumPy reference, number for number, and against OpenCV, box for box."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from repro.data.datasets import shapes
from repro.errors import InstallError
from repro.ops import library
from repro.ops import selective_search as operator
from repro.ops.selective_search import PRESETS, reference, selective_search
from repro.ops.selective_search.views import SPACES, gradients, view

built = pytest.mark.skipif(
    not operator.available(), reason=f"selective_search: {library.find('selective_search').reason}"
)


def opencv(image: np.ndarray, preset: str) -> np.ndarray:
    """OpenCV's boxes, sorted."""
    algorithm = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    algorithm.setBaseImage(image)
    start = {"fast": "Fast", "quality": "Quality"}
    getattr(algorithm, f"switchToSelectiveSearch{start[preset]}" if preset in start else "switchToSingleStrategy")()
    boxes = np.asarray(algorithm.process()).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return np.unique(boxes, axis=0)


def drawn(number: int, size: tuple[int, int] | None = None) -> np.ndarray:
    """A generated image, BGR."""
    image = shapes.image("small", "train", number)[0][..., ::-1]
    return np.ascontiguousarray(image if size is None else cv2.resize(image, size))


def rough(seed: int, height: int, width: int) -> np.ndarray:
    """Blobs of all colours: many segments on few pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(height // 9, 1), max(width // 9, 1), 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int64)
    return np.clip(image + rng.integers(-9, 10, image.shape), 0, 255).astype(np.uint8)


@built
@pytest.mark.parametrize("preset", PRESETS)
def test_most_images_have_opencvs_boxes(preset):
    images = [drawn(number, (128, 128) if number % 2 else None) for number in range(12)]
    if preset != "quality":  # by size alone it leaves ties that nothing decides, more than a few among small segments
        images += [rough(number, 96, 64 + number) for number in range(8)]
    equal = [
        np.array_equal(np.unique(selective_search(image, preset)[0], axis=0), opencv(image, preset)) for image in images
    ]
    assert np.mean(equal) >= 0.9


@built
@pytest.mark.parametrize("preset", PRESETS)
def test_the_operator_is_its_reference(preset):
    for image in (rough(0, 40, 51), drawn(3, (48, 36))):
        boxes, levels = selective_search(image, preset)
        expected_boxes, expected_levels = reference.selective_search(image, preset)
        assert np.array_equal(boxes, expected_boxes) and np.array_equal(levels, expected_levels)
        assert boxes.dtype == levels.dtype == np.int32


@built
@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3))),
    st.sampled_from(["single", "fast"]),
    st.integers(1, 5),
)
def test_any_small_image(coarse, preset, zoom):
    image = np.ascontiguousarray(coarse.repeat(zoom, 0).repeat(zoom, 1)[:40, :40])
    height, width = image.shape[:2]
    boxes, levels = selective_search(image, preset)
    expected_boxes, expected_levels = reference.selective_search(image, preset)
    assert np.array_equal(boxes, expected_boxes) and np.array_equal(levels, expected_levels)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [width, height]).all() and (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[levels == levels.max()] == [0, 0, width, height]).all(1).any()


@built
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (3, 200), (200, 3), (64, 20)])
def test_odd_sizes_and_constant_images(size):
    for image in (rough(1, *size), np.full((*size, 3), 77, np.uint8)):
        boxes, levels = selective_search(image, "single")
        expected = reference.selective_search(image, "single")
        assert np.array_equal(boxes, expected[0]) and np.array_equal(levels, expected[1])
    assert boxes.tolist() == [[0, 0, size[1], size[0]]] and levels.tolist() == [1]


@built
def test_levels_grow_with_merging():
    """Of n segments in one grouping come n − 1 regions: each is higher than what lies in it, by one or more."""
    boxes, levels = selective_search(rough(5, 90, 90), "single")
    segments = int((levels == 1).sum())
    assert segments > 10 and (levels[:segments] == 1).all() and len(levels) == 2 * segments - 1
    assert levels[-1] == levels.max() and boxes[-1].tolist() == [0, 0, 90, 90]
    assert set(range(1, levels.max() + 1)) == set(levels.tolist())


@built
def test_segments_are_opencvs():
    image = drawn(8)
    for space in SPACES:
        seen = view(image, space)
        graph = cv2.ximgproc.segmentation.createGraphSegmentation(float(np.float32(0.8)), 150, 100)
        labels = graph.processImage(seen.pixels)
        tensors = [torch.from_numpy(array) for array in seen]
        boxes, levels = torch.ops.repro.selective_search(*tensors, [150.0], 100, [8])
        expected = []
        for label in range(labels.max() + 1):
            ys, xs = np.nonzero(labels == label)
            expected.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert boxes[levels == 1].tolist() == expected


def test_similarities_are_opencvs():
    """What the strategies say of two segments, by their own interface, against the reference."""
    seen = view(drawn(2, (64, 48)), "hsv")
    labels = reference.segment(seen.smoothed, 50.0, 30)
    sizes = np.bincount(labels.ravel()).astype(np.int32).reshape(-1, 1)
    named = {operator.COLOUR: "Color", operator.FILL: "Fill", operator.TEXTURE: "Texture", operator.SIZE: "Size"}
    for flag, name in named.items():
        theirs = getattr(cv2.ximgproc.segmentation, f"createSelectiveSearchSegmentationStrategy{name}")()
        theirs.setImage(seen.pixels, labels.astype(np.int32), sizes)
        ours = reference.Grouping(labels, seen, flag)
        assert len(ours.pairs) > 5
        for similarity, a, b in ours.pairs:
            assert similarity == np.float32(theirs.get(a, b))


def test_gradients_do_not_depend_on_neighbouring_memory():
    """Where OpenCV's own texture reads past its image: very wide ones."""
    pixels = rough(2, 10, 100)
    assert np.isfinite(gradients(pixels)).all() and np.array_equal(gradients(pixels), gradients(pixels.copy()))


@built
def test_threads_do_not_disturb_each_other():
    images = [rough(number, 60, 60) for number in range(6)]
    expected = [selective_search(image)[0] for image in images]
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.__setitem__(i, selective_search(images[i])[0]))
        for i in range(len(images))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[i], expected[i]) for i in range(len(images)))


@built
@pytest.mark.parametrize(
    "change, words",
    [
        ({0: torch.zeros(4, 5, 3)}, "uint8"),
        ({1: torch.zeros(4, 5, 1)}, "like pixels"),
        ({2: torch.zeros(3, 4, 5, 3)}, r"\[4, H, W, C\]"),
        ({5: [0]}, "sum of 1, 2, 4 and 8"),
    ],
)
def test_wrong_tensors_are_named(change, words):
    arguments = [
        torch.zeros(4, 5, 3, dtype=torch.uint8),
        torch.zeros(4, 5, 3),
        torch.zeros(4, 4, 5, 3),
        [1.0],
        100,
        [15],
    ]
    for position, value in change.items():
        arguments[position] = value
    with pytest.raises(RuntimeError, match=words):
        torch.ops.repro.selective_search(*arguments)


def test_wrong_arguments_are_named(monkeypatch):
    image = rough(0, 8, 8)
    with pytest.raises(ValueError, match="Did you mean fast"):
        selective_search(image, "fats")
    with pytest.raises(ValueError, match=r"float64 \[8, 8, 3\]"):
        selective_search(image.astype(float))
    monkeypatch.setattr(library, "load", lambda op: False)
    monkeypatch.setattr(library, "find", lambda op: library.Library(None, "not built; run repro ops build"))
    with pytest.raises(InstallError, match="repro ops build"):
        selective_search(image)
