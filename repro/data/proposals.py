"""Region proposals of a whole data set, in one file (`repro.data.image_arrays`). `repro.data.propose` finds the boxes.

Boxes are kept in pixels of the squashed image beside the sizes of the originals, so scaling back is exact. With each
box go the levels of its regions, from which the order can be drawn anew in every epoch (`Proposals.redraw`).

    boxes            [N, 4] xyxy, all images' one after another, by image id; uint8 where the squashed side allows it
    counts           [N] uint8, regions that have this box
    levels           [M], of the first box's regions, of the second one's, …
    offsets          [images + 1] int64, where an image's boxes begin
    level_offsets    [images + 1] int64, where its levels begin
    image_ids        [images] int64, ascending
    sizes            [images, 2] uint32, height and width of the originals
    header           JSON: format, method, settings, the data set's fingerprint, counts, versions, SHA-256 of the rest
"""

from __future__ import annotations

import numpy as np

from repro.data.candidates import rank
from repro.data.image_arrays import ImageArrays

FILE = "proposals.npz"


class Proposals(ImageArrays):
    """Reads the file.

    Attributes:
        header: What it was made with: `method`, `settings`, `ranking`, `dataset`, `images`, `boxes`, `sha256`.

    Raises:
        DataError: The file is missing or is not one of ours.
    """

    FORMAT = 2
    ARRAYS = ("boxes", "counts", "levels", "offsets", "level_offsets", "image_ids", "sizes")
    CONTENT = "region proposals"
    STAGE = "propose"

    def boxes(self, image_id: int) -> np.ndarray:
        """Boxes of an image, best first: float32 [N, 4], xyxy in pixels of the original image.

        Raises:
            DataError: The file has nothing about this image.
        """
        row = self._row(image_id)
        return self._scaled(row, self._part("boxes", "offsets", row))

    def redraw(self, image_id: int, rng: np.random.Generator) -> np.ndarray:
        """Like `boxes`, in an order drawn anew by the ranking they were made with; scores and drawn boxes stay."""
        row = self._row(image_id)
        counts = self._part("counts", "offsets", row).astype(np.int64)
        order = rank(counts, self._part("levels", "level_offsets", row), self.header["ranking"], rng)
        return self._scaled(row, self._part("boxes", "offsets", row)[order])

    def size(self, image_id: int) -> tuple[int, int]:
        """(height, width) of the original image."""
        height, width = self._arrays["sizes"][self._row(image_id)]
        return int(height), int(width)

    def _scaled(self, row: int, boxes: np.ndarray) -> np.ndarray:
        side = self.header["squashed"]
        if side is None:
            return boxes.astype(np.float32)
        height, width = self._arrays["sizes"][row] / side
        return (boxes * np.array([width, height, width, height])).astype(np.float32)
