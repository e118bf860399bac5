"""What semi-supervised training on COCO reads beside COCO: `coco_2017_unlabeled`, and lists of labelled images.

unlabeled2017 are 123,403 images of which only names and sizes are published (`image_info_unlabeled2017.json`); they
take over train2017's categories. `instances_unlabeled2017.json`, which Soft Teacher's and mmdetection's scripts make of
it, serves as well.

`split:<percent>:<file>` names the files of a share that somebody else drew (`repro.data.split_files`), so that their
content enters the names of stages as that of a data set does. There are no images behind it.

`repro data prepare semi` writes the lists of STAC's protocol, 1, 2, 5 and 10 % in five folds, for other code bases, and
says whether they have the published sizes; with `--from` it adopts unlabeled2017 and any lists.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from repro.data import prepared, split_files, splits
from repro.data.adopt import adopt
from repro.data.dataset import Dataset, Progress, Source, datasets_root, quiet
from repro.data.datasets import coco
from repro.data.files import digest
from repro.errors import DataError

NAME, IMAGES = "coco_2017_unlabeled", 123_403
FILES = ("image_info_unlabeled2017.json", "instances_unlabeled2017.json")
FOLDER = "unlabeled2017"
PUBLISHED = f"coco-2017-unlabeled-{IMAGES}"
HOME = "cocodataset.org (unlabeled2017, image_info_unlabeled2017)"
PREFIX = "split:"
LISTS = "semi_supervised"
"""Folder of lists, beside COCO's annotations."""

PERCENT, FOLDS = (1, 2, 5, 10), (1, 2, 3, 4, 5)
STAC_COUNTS = {
    1: (1174, 1175, 1174, 1174, 1175),
    2: (2329, 2346, 2342, 2337, 2343),
    5: (5764, 5772, 5756, 5766, 5762),
    10: (11285, 11261, 11234, 11262, 11235),
}
"""Images of train2017 by percent and fold; with replacement, so fewer than the share."""


def register(root: Path | None) -> list[Dataset]:
    """Describe `coco_2017_unlabeled`."""
    where = datasets_root(root)
    folder = where / "coco" / "annotations"
    file = next((folder / name for name in FILES if (folder / name).exists()), folder / FILES[0])
    return [
        Dataset(
            name=NAME,
            fingerprint=lambda: prepared.fingerprint(where, "semi", NAME) or PUBLISHED,
            source=partial(_unlabelled, file, where / "coco" / FOLDER),
            categories=coco.categories,
            expected=(IMAGES, 0),
            looked_for=(file, where / "coco" / FOLDER),
            actual=lambda: digest(coco.found(file, NAME)),
            stored=partial(prepared.content, where, "semi", NAME),
        )
    ]


def _unlabelled(file: Path, images: Path) -> Source:
    content = _parsed(file)
    return Source(
        {"images": content["images"], "annotations": [], "categories": coco.categories()},
        images,
        file,
    )


def _parsed(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(coco.found(file, NAME).read_bytes())
    except ValueError as error:
        raise DataError(f"{NAME}: {file} is malformed JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f"{NAME}: {file} is not in COCO layout: it has no list images")
    return content


def resolve(name: str, root: Path | None = None) -> Dataset | None:
    """Describe `split:<percent>:<file>`; None for other names.

    Raises:
        DataError: The name starts with `split:` and has not these parts.
    """
    if not name.startswith(PREFIX):
        return None
    percent, _, pattern = name[len(PREFIX) :].partition(":")
    try:
        share = float(percent)
    except ValueError as error:
        raise DataError(f"{name}: the files of a share are named split:<percent>:<file>") from error

    def source() -> Source:
        raise DataError(f"{name} is a list of images and not a data set")

    return Dataset(name=name, fingerprint=partial(split_files.fingerprint, pattern, share), source=source)


def prepare(source: Path | None, root: Path, copy: bool = False, progress: Progress = quiet) -> list[str]:
    """Write STAC's lists under `<root>/coco`, and adopt what `source` has.

    Args:
        source: Folder that holds `unlabeled2017` and its list of images (there or in `annotations`), or lists of
            labelled images (`<anything>@<percent>.json`, `COCO_supervision.txt`), or both; None for neither.
        root: Folder of data sets.
        copy: Copy instead of linking.
        progress: Is told how far it is.

    Raises:
        DataError: There is nothing to do: no train2017 under `root`, and nothing of this in `source`.
    """
    done = [] if source is None else [*_adopt_images(source, root, copy), *_adopt_lists(source, root, copy)]
    annotations = root / "coco" / "annotations" / "instances_train2017.json"
    if annotations.exists():
        done += write_lists(annotations, root / "coco" / LISTS, progress)
    if not done:
        where = f"{source} holds neither {FOLDER} nor lists of images" if source else "no --from DIR was given"
        raise DataError(f"nothing to prepare: {annotations} does not exist, and {where}. They come from {HOME}")
    return done


def write_lists(annotations: Path, folder: Path, progress: Progress = quiet) -> list[str]:
    """Write `stac.<fold>@<percent>.json` for all published shares and folds; returns one line each."""
    images = coco.read_file(annotations, annotations.parent, "coco_2017_train").annotations["images"]
    ids = [image["id"] for image in images]
    whole = len(ids) == coco.COUNTS["train"][0]
    wanted = [(percent, fold) for percent in PERCENT for fold in FOLDS]
    done = []
    for number, (percent, fold) in enumerate(wanted):
        progress("lists", number, len(wanted))
        chosen, published = splits.stac(ids, percent, fold), STAC_COUNTS[percent][fold - 1]
        if whole and len(chosen) != published:
            raise DataError(
                f"{annotations}: STAC's fold {fold} of {percent} % has {published:,} images, this one {len(chosen):,}"
            )
        target = folder / f"stac.{fold}@{percent}.json"
        splits.save(target, chosen, percent=percent, seed=fold, split="stac", dataset="coco_2017_train")
        done.append(f"wrote {target}: {len(chosen):,} of {len(ids):,} images" + (", as published" if whole else ""))
    return done


def _adopt_images(source: Path, root: Path, copy: bool) -> list[str]:
    if not (source / FOLDER).is_dir():
        return []
    places = [place / name for place in (source / "annotations", source) for name in FILES]
    listed = next((place for place in places if place.exists()), None)
    if listed is None:
        raise DataError(f"{source} holds {FOLDER}, but none of {', '.join(FILES)}, there or in annotations")
    done = adopt(source, root / "coco", [FOLDER], copy)
    done += adopt(listed.parent, root / "coco" / "annotations", [listed.name], copy)
    count, content = len(_parsed(listed)["images"]), digest(listed)
    mark = prepared.mark("coco-2017-unlabeled", PUBLISHED, content, genuine=count == IMAGES)
    return [*done, f"{count:,} images", prepared.write(root, "semi", {NAME: mark})]


def _adopt_lists(source: Path, root: Path, copy: bool) -> list[str]:
    found = sorted(file for file in source.glob("*@*.json") if "unlabel" not in file.name)
    found += [file for file in (source / "COCO_supervision.txt",) if file.exists()]
    if not found:
        return []
    place = root / "coco" / LISTS
    done = adopt(source, place, [file.name for file in found], copy)
    return [*done, f"name them in recipes: data.split: {place}/<name>, with {{percent}} and {{fold}} in it"]
