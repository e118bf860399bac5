"""Samples for DETReg's pretraining: proposals as objects, and a crop for each of them.

Bar et al. 2022 (arXiv 2106.04550, Sec. 3). Boxes come from `repro.data.proposals`; all are of class 0 ("an object").
Crops are cut from the original image before it is augmented, so a box that the augmentation truncates keeps the crop of
the whole region, as in the published code; box and crop lists are filtered together. An image with fewer than two
boxes, before or after augmentation, is refused (None), and the loader takes another one.

Which boxes (`policy`), of n in order of rank:

    topk                 the first k
    random               k of them, each equally likely
    importance           each for itself with probability −ln(i/301)/10, i = 1…300, and none of those behind, as the
                         published code has it for k = 30 (29.7 boxes on average); another k scales it
    importance_paper     each for itself with a probability proportional to −log(i/n), k of them on average; the last
                         one is never taken

Whose boxes (`shuffle`), for the control experiment of Table 6: True takes those of another image in that image's own
pixels, as the published code does, so that in a smaller image some fall outside and are dropped; "relative" scales them
to this image.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from detectron2.data.transforms import Augmentation

from repro.data.augmentations.crops import CropViews
from repro.data.augmentations.geometry import ViewInput
from repro.data.mapper import ImageReader, clip, sample
from repro.data.proposals import Proposals
from repro.errors import DataError, did_you_mean

FEWEST = 2


def topk(count: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """The first k of `count` ranks."""
    return np.arange(min(k, count))


def random(count: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """k ranks, each equally likely, ascending."""
    return np.sort(rng.choice(count, min(k, count), replace=False))


def importance(count: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Ranks drawn one by one with probability −ln(i/301)/10 × k/30, the first 300 at most: the published code's."""
    rank = np.arange(1, min(count, 300) + 1)
    return np.flatnonzero(rng.random(len(rank)) < -np.log(rank / 301) / 10 * k / 30)


def importance_paper(count: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """Ranks drawn one by one with probability proportional to −log(i/n), k of them on average (Sec. 3.1)."""
    weight = -np.log(np.arange(1, count + 1) / count)
    return np.flatnonzero(rng.random(count) < np.minimum(k * weight / max(weight.sum(), 1e-12), 1))


POLICIES: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "topk": topk,
    "random": random,
    "importance": importance,
    "importance_paper": importance_paper,
}


class PretrainMapper:
    """Maps a record to an image with proposals for objects and crops for embedding targets.

    Args:
        proposals: Boxes of every image of the data set.
        augmentation: Of the image; `DetrAugmentation` with DETReg's pretraining sizes.
        crops: Makes the crops.
        k: Boxes an image (on average, with the two importances).
        policy: Which boxes, one of `POLICIES`.
        redraw: Rank the boxes anew each time an image is seen, as the published code does; else the stored order holds.
        shuffle: Take the boxes of another image: True or "relative", see the module.
        channels: Channel order of `image` and `crops`.
        cache_images: Keep decoded images, see `repro.data.mapper.ImageReader`.
    """

    def __init__(
        self,
        proposals: Proposals,
        augmentation: Augmentation,
        crops: CropViews,
        k: int = 30,
        policy: str = "topk",
        redraw: bool = True,
        shuffle: bool | str = False,
        channels: str = "RGB",
        cache_images: bool = False,
    ) -> None:
        if policy not in POLICIES:
            raise DataError(f"there is no policy {policy} to choose proposals. {did_you_mean(policy, POLICIES)}")
        if shuffle not in (True, False, "relative"):
            raise DataError(f'shuffle is true, false or "relative", not {shuffle!r}')
        self.proposals, self.augmentation, self.crops = proposals, augmentation, crops
        self.k, self.choose, self.redraw, self.shuffle = k, POLICIES[policy], redraw, shuffle
        self.reader = ImageReader(channels, cache_images)

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
        """Map one record.

        Returns:
            What `TrainMapper` returns, with `gt_classes` all 0, and `crops` (uint8 [N, 3, size, size], one for each
            instance); None if fewer than two boxes are left.
        """
        boxes = self._boxes(record, rng)
        if len(boxes) < FEWEST:
            return None
        view = ViewInput(self.reader(record), boxes.astype(np.float64), rng)
        original = view.image
        self.augmentation(view)
        kept_boxes, kept = clip(view.boxes, *view.image.shape[1:])
        if len(kept_boxes) < FEWEST:
            return None
        found = sample(record, view.image, kept_boxes, np.zeros(len(kept_boxes)))
        return found | {"crops": self.crops(original, boxes[kept], rng)}

    def _boxes(self, record: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """Chosen boxes, float32 [N, 4] xyxy in pixels of the original image."""
        source = record["image_id"]
        if self.shuffle:
            source = int(rng.choice(self.proposals.image_ids))
        boxes = self.proposals.redraw(source, rng) if self.redraw else self.proposals.boxes(source)
        boxes = boxes[self.choose(len(boxes), self.k, rng)]
        if self.shuffle == "relative":
            height, width = self.proposals.size(source)
            y, x = record["height"] / height, record["width"] / width
            boxes = boxes * np.array([x, y, x, y], np.float32)
        return boxes
