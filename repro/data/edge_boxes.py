"""Edge Boxes on one image (Zitnick & Dollár 2014), by OpenCV: boxes that few contours leave, best first.

The method scores boxes by an edge map. The published one comes from a structured forest (Dollár & Zitnick 2013) whose
trained model OpenCV does not ship: it is a file to be downloaded. Without it there is a Sobel edge map, which is ours:
boxes of other quality, to be called so wherever they are reported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from repro.data.candidates import Candidates, single, squashed
from repro.errors import DataError, did_you_mean

MODEL = "REPRO_EDGE_MODEL"
EDGES = ("structured", "sobel")


@dataclass(frozen=True)
class Settings:
    """How boxes are proposed. Defaults are OpenCV's, as DETReg's code for evaluating proposals has them.

    Attributes:
        edges: "structured" (the forest whose file `$REPRO_EDGE_MODEL` names) or "sobel" (ours).
        size: See `repro.data.selective_search.Settings`; None since the smallest area is 6 % of a 128×128 image.
        max_boxes: Keep the best ones only.
        alpha: Step of the sliding windows, as an overlap.
        beta: Overlap beyond which of two boxes one is dropped.
        min_score: Boxes below are dropped.
        min_box_area: Of a box, in pixels.
        max_aspect_ratio: Of a box.
    """

    edges: str = "structured"
    size: int | None = None
    max_boxes: int = 1000
    alpha: float = 0.65
    beta: float = 0.75
    min_score: float = 0.01
    min_box_area: float = 1000
    max_aspect_ratio: float = 3

    ranking = "score"  # of a box; never drawn anew

    def __post_init__(self) -> None:
        if self.edges not in EDGES:
            raise DataError(f"proposals: there are no edges {self.edges!r}. {did_you_mean(self.edges, EDGES)}")
        if self.max_boxes < 1 or (self.size is not None and self.size < 1):
            raise DataError(f"proposals: size {self.size} or max_boxes {self.max_boxes} is not a positive number")


def search(image: np.ndarray, image_id: int, settings: Settings) -> Candidates:
    """Propose boxes for an RGB image uint8 [H, W, 3]: pixels of the (squashed) image, best first.

    Raises:
        DataError: The model of structured edges is not where it should be.
    """
    image = squashed(image, settings.size, "RGB")
    edges, orientation = _structured(image) if settings.edges == "structured" else sobel(image)
    algorithm = cv2.ximgproc.createEdgeBoxes()
    algorithm.setMaxBoxes(settings.max_boxes)
    algorithm.setAlpha(settings.alpha)
    algorithm.setBeta(settings.beta)
    algorithm.setMinScore(settings.min_score)
    algorithm.setMinBoxArea(settings.min_box_area)
    algorithm.setMaxAspectRatio(settings.max_aspect_ratio)
    found = np.asarray(algorithm.getBoundingBoxes(edges, orientation)[0], np.int64).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    limit = np.array([image.shape[1], image.shape[0]] * 2)
    found = np.clip(found, 0, limit)
    return single(found[(found[:, 2:] > found[:, :2]).all(1)])


def sobel(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thin edges in 0…1 and their orientation in 0…π, float32 [H, W] each, from brightness alone."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255, (0, 0), 1.0)
    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength, angle = np.hypot(x, y), np.mod(np.arctan2(y, x), np.float32(np.pi))
    rows, columns = np.indices(grey.shape, np.float32)
    thin = strength > 0
    for side in (-1, 1):  # kept where neither neighbour across the edge is stronger
        there = columns + side * np.cos(angle), rows + side * np.sin(angle)
        thin &= strength >= cv2.remap(strength, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    edges = np.where(thin, strength, 0) / max(float(strength.max()), 1e-6)
    return edges.astype(np.float32), angle.astype(np.float32)


def _structured(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    file = Path(os.environ.get(MODEL) or "")
    if not file.is_file():
        raise DataError(
            f"Edge Boxes need the model of structured edges: download model.yml.gz of OpenCV's contrib test data "
            f"(opencv_extra, testdata/cv/ximgproc) and set {MODEL} to its path; it is {str(file)!r} now. "
            "Or let the recipe say propose.edges: sobel, which finds other boxes"
        )
    detector = cv2.ximgproc.createStructuredEdgeDetection(str(file))
    edges = detector.detectEdges(image.astype(np.float32) / 255)
    orientation = detector.computeOrientation(edges)
    return detector.edgesNms(edges, orientation), orientation
