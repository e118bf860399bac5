"""Small data sets that the tests of `repro.data` share."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from repro.data import datasets, shards
from repro.data.proposals import FILE
from repro.data.propose import Method, Search


def propose(records, folder, settings, *, fingerprint="", on_progress=None, **sharing) -> Path:
    """Find the region proposals of all images; returns the file."""
    finder, file = Search(Method.of(settings)), Path(folder) / FILE
    with_whom = shards.Sharing(**sharing)
    return shards.run(records, file, finder, with_whom, fingerprint=fingerprint, on_progress=on_progress)


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which the generated sets are made once for all tests."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="session")
def smoke(shapes_root: Path) -> list[dict]:
    """Records of the 16 generated training images."""
    return datasets.load("shapes_smoke_train", shapes_root)


@pytest.fixture
def bccd() -> Path:
    """Folder of BCCD, a small real data set."""
    if "REPRO_BCCD" not in os.environ:
        pytest.skip("REPRO_BCCD does not say where BCCD is")
    return Path(os.environ["REPRO_BCCD"])


class CocoFolder:
    """Writes a data set in COCO layout that a test then damages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        self.content: dict = {"images": [], "annotations": [], "categories": []}
        self.content["categories"] = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]

    def image(self, image_id: int, height: int = 40, width: int = 60, suffix: str = "jpg") -> Path:
        from PIL import Image

        pixels = np.random.default_rng(image_id).integers(0, 255, (height, width, 3), dtype=np.uint8)
        file = self.images / f"{image_id}.{suffix}"
        Image.fromarray(pixels).save(file)
        self.content["images"].append({"id": image_id, "file_name": file.name, "height": height, "width": width})
        return file

    def box(self, image_id: int, bbox: object, category: int = 3, **more: object) -> int:
        number = len(self.content["annotations"]) + 100
        entry = {"id": number, "image_id": image_id, "bbox": bbox, "category_id": category, "iscrowd": 0, **more}
        self.content["annotations"].append(entry)
        return number

    def write(self) -> str:
        """Write the annotation file; returns the set's name."""
        file = self.folder / "instances.json"
        file.write_text(json.dumps(self.content))
        return f"coco:{file}:{self.images}"


@pytest.fixture
def coco_folder(tmp_path: Path) -> CocoFolder:
    return CocoFolder(tmp_path / "custom")
