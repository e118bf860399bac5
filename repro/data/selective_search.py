"""Selective Search on one image (Uijlings et al. 2013), by OpenCV or by our operator, with an order of our own.

OpenCV returns the same *set* of boxes every time, in an order that is random from run to run: it sorts by U(0, 1) times
the level at which a box appeared in the merging hierarchy (1 for the first segments), from an unseeded generator.
DETReg keeps the first 30, so the order matters: it prefers boxes of low level, which are small. Engines:

    opencv      the reference. The level is not in its Python interface.
    native      `repro.ops.selective_search`: the same boxes on 99 images in a hundred, with levels, in a quarter of the
                time.

Rankings:

    level       OpenCV's own: the least U(0, 1) × level over all regions that have the box, drawn from the image id.
                Needs the native engine.
    depth       U(0, 1) times ∛(1 + the number of other boxes inside the box), a stand-in for the level that the boxes
                themselves give; drawn from the image id, so it repeats anywhere. Keeps the bias to small boxes: over 80
                photographs the first 30 cover 1.8, 3.1, 6.7, 15, 30 % of the image (quantiles 10, 25, 50, 75, 90); in
                OpenCV's order 1.7, 3.2, 7.3, 18, 40 %, without the bias 2.4, 4.7, 12, 26, 48 %.
    image_id    U(0, 1) alone, drawn from the image id: no bias.
    opencv      whatever OpenCV returned; does not repeat.

All but the last are computed from the sorted set, so nothing of OpenCV's order is left in them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from repro.data.candidates import Candidates, distinct, rank, single, squashed
from repro.errors import DataError, InstallError, did_you_mean
from repro.ops import selective_search as native

MODES = tuple(native.PRESETS)
RANKINGS = {"opencv": ("depth", "image_id", "opencv"), "native": ("level", "depth", "image_id")}
ORDER_STREAM = 3


@dataclass(frozen=True)
class Settings:
    """How boxes are proposed; every value can change them.

    Attributes:
        size: Side of the square that an image is squashed to first, aspect ignored, as DETReg's code does (128);
            None runs on the image as it is.
        mode: OpenCV's preset: "fast", "quality" or "single" strategy.
        channel_order: What OpenCV is handed. It expects "BGR"; DETReg's code hands it "RGB", and gets other boxes.
        max_boxes: Keep the first ones only; None keeps all.
        ranking: See the module.
        engine: See the module.
    """

    size: int | None = 128
    mode: str = "fast"
    channel_order: str = "RGB"
    max_boxes: int | None = None
    ranking: str = "depth"
    engine: str = "opencv"

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.mode, MODES, "mode"),
            (self.channel_order, ("RGB", "BGR"), "channel_order"),
            (self.engine, RANKINGS, "engine"),
            (self.ranking, {name for names in RANKINGS.values() for name in names}, "ranking"),
        ):
            if value not in known:
                raise DataError(f"proposals: there is no {what} {value!r}. {did_you_mean(str(value), known)}")
        if self.ranking not in RANKINGS[self.engine]:
            possible = ", ".join(RANKINGS[self.engine])
            raise DataError(f"proposals: engine {self.engine} has no ranking {self.ranking}; it has {possible}")
        for name in ("size", "max_boxes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"proposals: {name} is a positive number or None, not {value}")


def search(image: np.ndarray, image_id: int, settings: Settings) -> Candidates:
    """Propose boxes for an image.

    Args:
        image: uint8 [H, W, 3], RGB.
        image_id: What the order is drawn from.
        settings: How.

    Returns:
        Boxes in pixels of the (squashed) image, best first. Their levels are the number of other boxes inside each
        where the ranking is not "level".

    Raises:
        InstallError: The engine is not there; says how to get it.
    """
    image = squashed(image, settings.size, settings.channel_order)
    boxes, levels = _opencv(image, settings.mode) if settings.engine == "opencv" else _native(image, settings.mode)
    if settings.ranking == "opencv":
        return single(boxes, contained(boxes)).ordered(np.arange(len(boxes))[: settings.max_boxes])
    found = distinct(boxes, levels)
    if settings.ranking != "level":
        found = single(found.boxes, contained(found.boxes))
    rng = np.random.default_rng([ORDER_STREAM, image_id])
    return found.ordered(rank(found.counts, found.levels, settings.ranking, rng)[: settings.max_boxes])


def _native(image: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        return native.selective_search(image, mode)
    except InstallError as error:
        raise InstallError(f"{error}; or let the recipe say propose.engine: opencv") from error


def _opencv(image: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Boxes int64 [N, 4] xyxy, in OpenCV's order, and no levels."""
    try:
        algorithm = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    except AttributeError as error:
        repair = "pip install --force-reinstall --no-deps opencv-contrib-python"
        raise InstallError(
            f"cv2 has no ximgproc: another OpenCV package has overwritten it. Repair: {repair}"
        ) from error
    algorithm.setBaseImage(image)
    if mode == "fast":
        algorithm.switchToSelectiveSearchFast()
    elif mode == "quality":
        algorithm.switchToSelectiveSearchQuality()
    else:
        algorithm.switchToSingleStrategy()
    found = np.asarray(algorithm.process(), dtype=np.int64).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    return found, np.ones(len(found), np.int64)


def contained(boxes: np.ndarray, chunk: int = 512) -> np.ndarray:
    """How many other boxes lie inside each box [N, 4] xyxy: int64 [N]. Takes N² comparisons."""
    counts = [
        (
            (boxes[None, :, 0] >= part[:, None, 0])
            & (boxes[None, :, 1] >= part[:, None, 1])
            & (boxes[None, :, 2] <= part[:, None, 2])
            & (boxes[None, :, 3] <= part[:, None, 3])
        ).sum(1)
        - 1
        for part in (boxes[start : start + chunk] for start in range(0, len(boxes), chunk))
    ]
    return np.concatenate(counts) if counts else np.zeros(0, np.int64)
