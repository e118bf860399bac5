"""Draws one image of the generated data set and annotates it.

Eight classes told apart by their outline, over a textured background with clutter: irregular blobs and strokes that
belong to no class. As in photographs, a class also has a usual colour, which most but not all of its objects wear and
which clutter may wear too; texture, size and rotation say nothing. Objects overlap and reach over the image's edge; a
few images hold no object, some hold a crowd. Annotations describe what
is visible: box and mask of an occluded object are those of its visible part, as in COCO.

The image is a function of the random generator it is given and of `Scene`, nothing else.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

CLASSES = ("bar", "circle", "cross", "hexagon", "ring", "square", "star", "triangle")

MIN_VISIBLE = 0.5  # share of an object that later objects must leave uncovered
MIN_PIXELS = 24  # smaller visible parts are not drawn at all, so nothing visible goes unannotated


@dataclass(frozen=True)
class Scene:
    """How an image is composed; lengths in pixels.

    Attributes:
        sides: Smallest and largest height and width.
        diameters: Smallest diameter of an object, and the largest as a share of the shorter side (log-uniform between).
        objects: Most objects in an image.
        clutter: Fewest and most blobs and strokes that belong to no class.
        empty: Share of images without an object.
        crowd: Share of images with one crowd.
        usual: Share of objects that wear their class's usual colour.
        contrast: Of the background's texture; 1 is that of an object.
    """

    sides: tuple[int, int]
    diameters: tuple[float, float] = (14.0, 0.8)
    objects: int = 5
    clutter: tuple[int, int] = (2, 7)
    empty: float = 0.03
    crowd: float = 0.08
    usual: float = 0.8
    contrast: float = 0.35


def regular(corners: int, inner: float | None = None) -> np.ndarray:
    """Corners of a regular polygon in the unit circle, or of a star if every second one lies at radius `inner`."""
    count = corners if inner is None else 2 * corners
    angle = 2 * np.pi * np.arange(count) / count
    radius = np.ones(count) if inner is None else np.where(np.arange(count) % 2, inner, 1.0)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _outlines() -> dict[str, list[np.ndarray]]:
    """Closed outlines in the unit circle; a second outline is a hole."""
    arm = 0.34
    quarter = np.array([[1.0, -arm], [1.0, arm], [arm, arm]]) / np.hypot(1.0, arm)
    right_angle = np.array([[0, 1], [-1, 0]])
    turns = [np.linalg.matrix_power(right_angle, count) for count in range(4)]
    half = 0.24
    return {
        "bar": [np.array([[1.0, half], [-1.0, half], [-1.0, -half], [1.0, -half]])],
        "circle": [regular(40)],
        "cross": [np.concatenate([quarter @ turn for turn in turns])],
        "hexagon": [regular(6)],
        "ring": [regular(40), 0.55 * regular(40)],
        "square": [regular(4)],
        "star": [regular(5, inner=0.42)],
        "triangle": [regular(3)],
    }


OUTLINES = _outlines()


def place(outline: np.ndarray, centre: np.ndarray, radius: float, turn: np.ndarray) -> np.ndarray:
    """Corner coordinates [N, 2] in pixels, x first."""
    return centre + radius * (outline @ turn.T)


def pose(rng: np.random.Generator) -> np.ndarray:
    """Random rotation after a mild stretch: a 2×2 matrix."""
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.15)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]]) @ np.diag([stretch, 1 / stretch])


def fill(height: int, width: int, outlines: list[np.ndarray]) -> np.ndarray:
    """Boolean mask [height, width] of the area inside an odd number of outlines."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32) for points in outlines], 1)
    return mask.view(bool)


def usual_colours(rng: np.random.Generator, category: int) -> np.ndarray:
    """Two shades, float32 [2, 3] in 0…255, of about the hue that a class usually has."""
    hue = category / len(CLASSES) + rng.normal(0, 0.02)
    shades = [colorsys.hsv_to_rgb(hue % 1.0, rng.uniform(0.55, 1.0), rng.uniform(0.45, 0.95)) for _ in range(2)]
    return 255 * np.array(shades, np.float32)


def texture(rng: np.random.Generator, height: int, width: int, colours: np.ndarray | None = None) -> np.ndarray:
    """Random pattern, float32 [height, width, 3] in 0…255, of two given colours or of any two."""
    if colours is None:
        colours = rng.uniform(10, 245, (2, 3)).astype(np.float32)
    kind = rng.integers(5)
    if kind == 0:
        blend = np.full((height, width), rng.random(), np.float32)
    elif kind == 1:
        grid = rng.random((rng.integers(2, 7), rng.integers(2, 7)), dtype=np.float32)
        blend = np.clip(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    else:
        blend = _waves(rng, height, width, kind)
    return colours[0] + blend[..., None] * (colours[1] - colours[0])


def _waves(rng: np.random.Generator, height: int, width: int, kind: int) -> np.ndarray:
    """Stripes (kind 2), a checkerboard (3) or dots (4) of random period and direction, values 0…1."""
    period, angle = rng.uniform(4, 24), rng.uniform(0, np.pi)
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    along = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + rng.uniform(0, 6)).astype(
        np.float32
    )
    if kind == 2:
        return np.clip(0.5 + rng.uniform(0.5, 3) * along, 0, 1).astype(np.float32)
    across = np.sin((y * np.cos(angle) - x * np.sin(angle)) * (2 * np.pi / period)).astype(np.float32)
    field = along * across
    return (field > (0.0 if kind == 3 else 0.35)).astype(np.float32)


def paint(
    rng: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    colours: np.ndarray | None = None,
    shade: bool = True,
) -> None:
    """Cover `mask` on the float canvas [H, W, 3] with a random texture, with a soft edge and at times a dark rim."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return
    top, bottom = max(rows[0] - 1, 0), min(rows[-1] + 2, mask.shape[0])
    left, right = max(columns[0] - 1, 0), min(columns[-1] + 2, mask.shape[1])
    patch = canvas[top:bottom, left:right]
    surface = texture(rng, bottom - top, right - left, colours)
    solid = mask[top:bottom, left:right].astype(np.float32)
    if shade and rng.random() < 0.4:
        inside = cv2.blur(solid, (5, 5))[..., None]
        surface *= 0.35 + 0.65 * np.clip(2 * inside - 1, 0, 1)
    alpha = cv2.GaussianBlur(solid, (3, 3), 0.6)[..., None]
    patch += alpha * (surface - patch)


def background(rng: np.random.Generator, height: int, width: int, clutter: int, contrast: float) -> np.ndarray:
    """Textured float canvas [height, width, 3] with `clutter` blobs and strokes on it."""
    canvas = 128 + contrast * (texture(rng, height, width) + texture(rng, height, width) - 256)
    for _ in range(clutter):
        mask = stroke(rng, height, width) if rng.random() < 0.35 else blob(rng, height, width)
        paint(rng, canvas, mask, shade=False)
    return canvas


def blob(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Mask of an irregular closed curve, too dented to be taken for a circle."""
    angle = 2 * np.pi * np.arange(32) / 32
    waves = rng.integers(2, 6, 3)
    dents = (rng.uniform(0.15, 0.35, 3)[:, None] * np.cos(waves[:, None] * angle + rng.uniform(0, 6, (3, 1)))).sum(0)
    curve = (1 + dents)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    radius = min(height, width) * np.exp(rng.uniform(np.log(0.04), np.log(0.25)))
    return fill(height, width, [place(curve, rng.uniform(0, (width, height)), radius, pose(rng))])


def stroke(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Mask of a bent line of random thickness."""
    mask = np.zeros((height, width), np.uint8)
    points = rng.uniform(0, (width, height), (3, 2))
    cv2.polylines(mask, [np.round(points).astype(np.int32)], False, 1, int(rng.integers(1, 5)))
    return mask.view(bool)


def draw(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Draw one image.

    Returns:
        The image, uint8 RGB [H, W, 3], and its annotations in COCO layout without ids: `category_id` (1 for the first
        of `CLASSES`), `bbox` (x, y, width, height), `area`, `segmentation`, `iscrowd`.
    """
    height, width = (int(side) for side in rng.integers(scene.sides[0], scene.sides[1] + 1, 2))
    canvas = background(rng, height, width, int(rng.integers(scene.clutter[0], scene.clutter[1] + 1)), scene.contrast)
    labels = np.zeros((height, width), np.int16)  # which object each pixel shows, 0 for none
    categories: list[int] = []
    crowd = _add_crowd(rng, canvas, labels, categories) if rng.random() < scene.crowd else False
    wanted = 0 if rng.random() < scene.empty else int(rng.integers(1, scene.objects + 1))
    for _ in range(wanted):
        _add_object(rng, scene, canvas, labels, categories)
    annotations = [
        annotate(labels == number, category, iscrowd=crowd and number == 1)
        for number, category in enumerate(categories, start=1)
    ]
    return expose(rng, canvas), annotations


def _add_object(
    rng: np.random.Generator, scene: Scene, canvas: np.ndarray, labels: np.ndarray, categories: list[int]
) -> None:
    """Paint one more object where it hides none of the others too much; give up after a few tries."""
    height, width = labels.shape
    category = int(rng.integers(len(CLASSES)))
    smallest, largest = np.log(scene.diameters[0]), np.log(scene.diameters[1] * min(height, width))
    for _ in range(6):
        radius = 0.5 * np.exp(rng.uniform(smallest, largest))
        margin = 0.6 * radius
        centre = rng.uniform((margin, margin), (max(width - margin, margin + 1), max(height - margin, margin + 1)))
        turn = pose(rng)
        outlines = [place(outline, centre, radius, turn) for outline in OUTLINES[CLASSES[category]]]
        mask = fill(height, width, outlines)
        if mask.sum() >= MIN_PIXELS and _leaves_visible(labels, mask, len(categories)):
            categories.append(category + 1)
            labels[mask] = len(categories)
            usual = usual_colours(rng, category) if rng.random() < scene.usual else None
            paint(rng, canvas, mask, usual)
            return


def _leaves_visible(labels: np.ndarray, mask: np.ndarray, count: int) -> bool:
    """Whether every object drawn so far keeps enough of what is visible of it now when `mask` is painted over."""
    before = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    lost = np.bincount(labels[mask], minlength=count + 1)[1:]
    kept = before - lost
    return bool(np.all((kept >= MIN_VISIBLE * before) & (kept >= MIN_PIXELS) | (lost == 0)))


def _add_crowd(rng: np.random.Generator, canvas: np.ndarray, labels: np.ndarray, categories: list[int]) -> bool:
    """Paint a cluster of small equal shapes that becomes one annotation, as COCO does with crowds."""
    height, width = labels.shape
    category = int(rng.integers(len(CLASSES)))
    radius = rng.uniform(4, 7)
    middle = rng.uniform((0.25 * width, 0.25 * height), (0.75 * width, 0.75 * height))
    for offset in rng.normal(0, 3.0 * radius, (int(rng.integers(7, 13)), 2)):
        turn = pose(rng)
        outlines = [place(outline, middle + offset, radius, turn) for outline in OUTLINES[CLASSES[category]]]
        mask = fill(height, width, outlines)
        labels[mask] = 1
        paint(rng, canvas, mask, shade=False)
    if (labels == 1).sum() < MIN_PIXELS:
        return False
    categories.append(category + 1)
    return True


def expose(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Contrast, brightness, sometimes blur, and sensor noise: uint8 [H, W, 3]."""
    canvas = (canvas - 128) * rng.uniform(0.7, 1.1) + 128 + rng.uniform(-25, 25)
    if rng.random() < 0.3:
        canvas = cv2.GaussianBlur(canvas, (3, 3), rng.uniform(0.4, 1.0))
    amplitude = int(rng.integers(2, 14))
    noise = rng.integers(-amplitude, amplitude + 1, canvas.shape, dtype=np.int8)
    return np.clip(canvas + noise, 0, 255).astype(np.uint8)


def annotate(mask: np.ndarray, category: int, iscrowd: bool = False) -> dict[str, Any]:
    """COCO annotation of a non-empty mask; polygons where they can say it, run lengths where there is a hole."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
    segmentation = None if iscrowd else polygons(mask)
    return {
        "category_id": category,
        "bbox": box,
        "area": int(mask.sum()),
        "iscrowd": int(iscrowd),
        "segmentation": segmentation or run_lengths(mask),
    }


def polygons(mask: np.ndarray) -> list[list[int]] | None:
    """Outlines of a mask, or None if it has a hole or a part too thin for a polygon."""
    contours, hierarchy = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if (hierarchy[0, :, 3] >= 0).any() or any(len(contour) < 3 for contour in contours):
        return None
    return [contour.ravel().tolist() for contour in contours]


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths: column by column, starting with the number of zeros."""
    flat = np.concatenate([[False], mask.ravel(order="F"), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    edges = np.concatenate([[0], changes, [mask.size]])
    counts = np.diff(edges)
    return {"size": list(mask.shape), "counts": (counts if counts[-1] else counts[:-1]).tolist()}
