"""Selective Search on one image (Uijlings et al. 2013), by OpenCV, with an order of our own.

OpenCV returns the same *set* of boxes every time, in an order that is random from run to run: it sorts by U(0, 1) times
the level at which a box appeared in the merging hierarchy (1 for the first segments), from an unseeded generator.
DETReg keeps the first 30, so the order matters: it prefers boxes of low level, which are small. The level is not in
OpenCV's Python interface. Rankings offered here:

    depth      U(0, 1) times ∛(1 + the number of other boxes inside the box), a stand-in for the level that the boxes
               themselves give; drawn from the image id, so it repeats anywhere. Keeps the bias to small boxes: over 80
               photographs the first 30 cover 1.8, 3.1, 6.7, 15, 30 % of the image (quantiles 10, 25, 50, 75, 90); in
               OpenCV's order 1.7, 3.2, 7.3, 18, 40 %, without the bias 2.4, 4.7, 12, 26, 48 %.
    image_id   U(0, 1) alone, drawn from the image id: no bias.
    opencv     whatever OpenCV returned; does not repeat.

The first two are computed from the sorted set, so nothing of OpenCV's order is left in them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from repro.errors import DataError, InstallError, did_you_mean

MODES = ("fast", "quality", "single")
RANKINGS = ("depth", "image_id", "opencv")
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
    """

    size: int | None = 128
    mode: str = "fast"
    channel_order: str = "RGB"
    max_boxes: int | None = None
    ranking: str = "depth"

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.mode, MODES, "mode"),
            (self.channel_order, ("RGB", "BGR"), "channel_order"),
            (self.ranking, RANKINGS, "ranking"),
        ):
            if value not in known:
                raise DataError(f"proposals: there is no {what} {value!r}. {did_you_mean(str(value), known)}")
        for name in ("size", "max_boxes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DataError(f"proposals: {name} is a positive number or None, not {value}")

    @classmethod
    def of(cls, values: Settings | dict[str, Any]) -> Settings:
        """Settings from a recipe's dictionary.

        Raises:
            DataError: A key does not exist, or a value is not allowed.
        """
        if isinstance(values, Settings):
            return values
        known = asdict(cls())
        for key in values:
            if key not in known:
                raise DataError(f"proposals: there is no setting {key}. {did_you_mean(key, known)}")
        return cls(**values)


def search(image: np.ndarray, image_id: int, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Propose boxes for an image.

    Args:
        image: uint8 [H, W, 3], RGB.
        image_id: What the order is drawn from.
        settings: How.

    Returns:
        Boxes, int64 [N, 4] xyxy in pixels of the (squashed) image, best first; and how many boxes lie inside each,
        int64 [N].
    """
    if settings.size is not None and image.shape[:2] != (settings.size, settings.size):
        image = cv2.resize(image, (settings.size, settings.size), interpolation=cv2.INTER_LINEAR)
    if settings.channel_order == "BGR":
        image = image[..., ::-1]
    boxes = _opencv(np.ascontiguousarray(image), settings.mode)
    if settings.ranking != "opencv":
        boxes = np.unique(boxes, axis=0)  # sorts
    depth = contained(boxes)
    if settings.ranking != "opencv":
        rng = np.random.default_rng([ORDER_STREAM, image_id])
        order = rank(depth if settings.ranking == "depth" else np.zeros_like(depth), rng)
        boxes, depth = boxes[order], depth[order]
    return boxes[: settings.max_boxes], depth[: settings.max_boxes]


def _opencv(image: np.ndarray, mode: str) -> np.ndarray:
    """Boxes int64 [N, 4] xyxy, in OpenCV's order."""
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
    return found


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


def rank(depth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Order of boxes, best first: ascending U(0, 1) × ∛(1 + depth)."""
    return np.argsort(rng.random(len(depth)) * np.cbrt(1 + depth), kind="stable")
