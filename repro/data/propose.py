"""Finding the region proposals of a data set, once: done by `repro.data.shards`, read by `repro.data.proposals`.

DETReg's published code runs Selective Search inside the data loader, again in every epoch; kept on disk it costs once
what an epoch cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import ModuleType
from typing import Any, NamedTuple

import cv2
import numpy as np

from repro.data import edge_boxes, random_boxes, selective_search
from repro.data.candidates import Candidates
from repro.data.images import read_image
from repro.data.proposals import Proposals
from repro.data.shards import Images
from repro.errors import DataError, did_you_mean

METHODS: dict[str, ModuleType] = {
    "selective_search": selective_search,
    "edge_boxes": edge_boxes,
    "random": random_boxes,
}


class Method(NamedTuple):
    """How boxes are found: a name of `METHODS`, and that module's settings."""

    name: str
    settings: Any

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Method:
        """From a recipe's dictionary; without `method` it is Selective Search.

        Raises:
            DataError: There is no such method or setting, or a value is not allowed.
        """
        name = values.get("method", "selective_search")
        if name not in METHODS:
            raise DataError(f"proposals: there is no method {name!r}. {did_you_mean(str(name), METHODS)}")
        known = asdict(METHODS[name].Settings())
        own = {key: value for key, value in values.items() if key != "method"}
        for key in own:
            if key not in known:
                raise DataError(f"proposals: {name} has no setting {key}. {did_you_mean(key, known)}")
        return cls(name, METHODS[name].Settings(**own))

    def search(self, image: np.ndarray, image_id: int) -> Candidates:
        """Candidates of an RGB image [H, W, 3]."""
        found: Candidates = METHODS[self.name].search(image, image_id, self.settings)
        return found


class Search(NamedTuple):
    """A method as `repro.data.shards` takes it."""

    method: Method
    kind: type[Proposals] = Proposals

    def identity(self) -> list[Any]:
        """The method and its settings."""
        return [self.method.name, asdict(self.method.settings)]

    def header(self, dataset: str, mark: str) -> dict[str, Any]:
        """What the file's header says of how it was made."""
        return {
            "method": self.method.name,
            "settings": asdict(self.method.settings),
            "ranking": self.method.settings.ranking,
            "squashed": self.method.settings.size,
            "dataset": dataset,
            "mark": mark,
            "versions": {"opencv": cv2.__version__, "numpy": np.__version__},
        }

    def find(self, images: Images, alive: Callable[[], Any]) -> dict[str, np.ndarray]:
        """The arrays of a shard.

        Raises:
            DataError: An image cannot be read.
        """
        found, sizes = [], []
        for name, image_id in images:
            try:
                image = read_image(name)
            except OSError as error:
                raise DataError(f"proposals for image {image_id}: {error}") from error
            if max(image.shape) > np.iinfo(np.uint16).max:
                raise DataError(f"proposals for image {image_id}: {name} has a side of more than 65535 pixels")
            found.append(self.method.search(image, image_id))
            sizes.append(image.shape[:2])
            alive()
        return {
            "boxes": np.concatenate([one.boxes for one in found]).astype(_box_type(self.method)),
            "counts": np.concatenate([one.counts for one in found]).astype(np.uint8),
            "levels": np.minimum(np.concatenate([one.levels for one in found]), 65535).astype(np.uint16),
            "offsets": np.cumsum([0] + [len(one.boxes) for one in found]).astype(np.int64),
            "level_offsets": np.cumsum([0] + [len(one.levels) for one in found]).astype(np.int64),
            "image_ids": np.array([image_id for _, image_id in images], np.int64),
            "sizes": np.array(sizes, np.uint32),
        }


def _box_type(method: Method) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if method.settings.size is not None and method.settings.size < 256 else np.uint16
