"""Images for figures: which, and how to show one with boxes on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.errors import FigureError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SIDES = ("left", "top", "right", "bottom")
"""Of a box xyxy, in the data behind a figure."""


def choose(images: Sequence[Mapping[str, Any]], count: int, seed: int, ids: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Return images at random, or those with the given ids, in this order.

    Raises:
        FigureError: there is no image of an id, or no image at all.
    """
    by_id = {image["image_id"]: dict(image) for image in images}
    if unknown := [one for one in ids if one not in by_id]:
        raise FigureError(f"draw: image_ids {', '.join(map(str, unknown))} are not in the data set")
    if not by_id:
        raise FigureError("there is no image with an object to draw")
    drawn = np.random.default_rng(seed).permutation(sorted(by_id))[:count]
    return [by_id[int(one)] for one in (ids or drawn)]


def objects(image: Mapping[str, Any], crowd: bool = False) -> np.ndarray:
    """Return the boxes of an image's objects, xyxy in pixels, [N, 4]; or those of its crowds."""
    boxes = [entry["bbox"] for entry in image["annotations"] if bool(entry["iscrowd"]) == crowd]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def show(axes: Axes, pixels: np.ndarray, title: str = "") -> None:
    """Show an image [height, width, 3] without axes."""
    axes.imshow(pixels, interpolation="nearest" if max(pixels.shape) < 300 else "antialiased")
    bare(axes).set_title(title)


def bare(axes: Axes) -> Axes:
    """Take ticks and lines off and return what is left."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def outline(axes: Axes, box_xyxy: Sequence[float], colour: Any, width: float = 1.0, style: str = "-") -> None:
    """Draw a box with a dark rim, so that it shows on any ground."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    left, top, right, bottom = box_xyxy
    rim = [withStroke(linewidth=width + 0.8, foreground="black", alpha=0.6)]
    axes.add_patch(
        Rectangle(
            (left - 0.5, top - 0.5), right - left, bottom - top,
            fill=False, edgecolor=colour, linewidth=width, linestyle=style, path_effects=rim, clip_on=True,
        )
    )  # fmt: skip
