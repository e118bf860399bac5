"""Data sets by name. One family a file; the folder is the registry.

A module here has `register(root) -> list[Dataset]` (describes its named sets, touching no file). It may have
`resolve(name, root) -> Dataset | None` (names that carry a path) and `prepare(source, root, copy, progress) ->
list[str]`, with that, unless it generates its sets, `HOME`: where users get the files. Adding a data set is adding such
a file. Free of torch, since planning asks for fingerprints.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from repro.data import prepared as _prepared
from repro.data import records as _records
from repro.data.dataset import Dataset, Fault, Progress, Source, datasets_root, quiet, writable_root
from repro.data.files import write_json
from repro.errors import DataError, UnknownDataError, collect, did_you_mean

Root = str | Path | None


class Loaded(NamedTuple):
    """A data set.

    Attributes:
        records: Dataset dictionaries, sorted by image id.
        skipped: What was left out: one line each, for the stage's record.
        order: Ids of all images in the order of the annotations, which some published draws depend on. Empty for a
            set that has no annotations but an index.
    """

    records: Sequence[dict[str, Any]]
    skipped: list[str]
    order: Sequence[int]


class Report(NamedTuple):
    """What `inspect` found.

    Attributes:
        name: The data set.
        present: Whether it is there at all (generated sets count as present).
        images, annotations: How many are sound; 0 if it is not there.
        fingerprint: Empty if it cannot be computed.
        faults: What must be repaired, or skipped on purpose.
        known: Faults of the published files, left out by every run.
        looked_for: Paths the set needs.
    """

    name: str
    present: bool
    images: int
    annotations: int
    fingerprint: str
    faults: list[str]
    known: list[str]
    looked_for: list[str]


def families() -> dict[str, ModuleType]:
    """The modules of this folder by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def names(root: Root = None) -> list[str]:
    """All names that need no path, sorted."""
    return sorted(_registered(root))


def _registered(root: Root) -> dict[str, Dataset]:
    where = datasets_root(root)
    return {dataset.name: dataset for module in families().values() for dataset in module.register(where)}


def find(name: str, root: Root = None) -> Dataset:
    """Description of a data set by its name.

    Raises:
        UnknownDataError: There is no such data set; the message names the nearest one.
    """
    registered = _registered(root)
    if name in registered:
        return registered[name]
    for module in families().values():
        if hasattr(module, "resolve") and (dataset := module.resolve(name, datasets_root(root))) is not None:
            return dataset
    known = [*registered, "coco:<instances.json>:<image folder>", "voc:<folder>:<split>"]
    raise UnknownDataError(f"there is no data set {name}. {did_you_mean(name, known)}")


def fingerprint(name: str, root: Root = None) -> str:
    """Short string that changes when the data do: published checksum, generator version, or stored hash."""
    return find(name, root).fingerprint()


def load(name: str, root: Root = None, *, skip_bad: bool = False) -> Sequence[dict[str, Any]]:
    """Detectron2 dataset dictionaries, sorted by image id; see `read`."""
    return read(name, root, skip_bad=skip_bad).records


def read(name: str, root: Root = None, *, skip_bad: bool = False, files: bool = True) -> Loaded:
    """Load a data set, generating or converting it first if need be, and check it in the same pass.

    Args:
        name: The data set.
        root: Folder of data sets; None takes `$DETECTRON2_DATASETS`.
        skip_bad: Leave bad images and boxes out, and say so in `skipped`, instead of raising.
        files: Look at the image files (header, size, end mark), not at the annotations only.

    Raises:
        DataError: The set is missing, or (without `skip_bad`) has faults, all of them in the message.
    """
    dataset = find(name, root)
    if dataset.records is not None:  # judged when it was prepared
        return Loaded(dataset.records(), [], ())
    source = dataset.source()
    found = _records.read(source, dataset.classes, files=files)
    if not skip_bad:
        lines = _records.describe(found.faults, dataset.known)
        collect(
            lines,
            f"data set {name} (`data.skip_bad: true` among the settings of the stage leaves such data out)",
            DataError,
        )
    if not found.records:
        raise DataError(
            f"data set {name} holds no usable image" + "".join(f"\n  {fault}" for fault in found.faults[:20])
        )
    skipped = [str(fault).replace(f"{source.images.parent}/", "") for fault in found.faults]  # no machine's paths
    return Loaded(found.records, skipped, found.order)


def class_names(name: str, root: Root = None) -> tuple[str, ...]:
    """Class names in the order of contiguous ids."""
    return tuple(category["name"] for category in _ordered(find(name, root)))


def _ordered(dataset: Dataset) -> list[dict[str, Any]]:
    """Categories in the order of contiguous ids."""
    known = dataset.categories
    categories = known() if known is not None else dataset.source().annotations["categories"]
    numbers = _records.category_numbers({"categories": categories}, dataset.classes)
    return sorted((entry for entry in categories if entry["id"] in numbers), key=lambda entry: numbers[entry["id"]])


def metadata(name: str, root: Root = None) -> dict[str, Any]:
    """What a set is called and how its categories are numbered.

    Returns:
        Detectron2's metadata keys `thing_classes`, `thing_dataset_id_to_contiguous_id`, `evaluator_type`; and
        `category_ids`, the id in `annotation_file` of each contiguous class.
    """
    dataset = find(name, root)
    categories = _ordered(dataset)
    ids = [category["id"] for category in categories]
    return {
        "thing_classes": [category["name"] for category in categories],
        "thing_dataset_id_to_contiguous_id": {category_id: number for number, category_id in enumerate(ids)},
        "category_ids": ids,
        "evaluator_type": "coco",
    }


def annotation_file(name: str, root: Root = None, *, skip_bad: bool = False) -> Path:
    """Ground truth in COCO layout for the evaluator.

    That is the file of the set itself, if it is in that layout and nothing had to be left out of it; else a file
    written once under the writable folder of data sets, which holds what `read` returns with the same `skip_bad`.
    """
    dataset = find(name, root)
    if dataset.file is not None and not skip_bad:
        return dataset.file()
    loaded = read(name, root, skip_bad=skip_bad)
    if dataset.file is not None and not loaded.skipped:
        return dataset.file()
    source = dataset.source()
    file = writable_root(root) / "converted" / f"{fingerprint(name, root)}{'-sound' if skip_bad else ''}.json"
    if not file.exists():
        write_json(file, _records.to_coco(loaded.records, _ordered(dataset), source.images))
    return file


def inspect(name: str, root: Root = None, *, deep: bool = False) -> Report:
    """Everything there is to say about a data set on this machine; never raises for what is wrong with it.

    Args:
        name: The data set.
        root: Folder of data sets.
        deep: Decode every image.
    """
    try:
        dataset = find(name, root)
    except DataError as error:
        return Report(name, False, 0, 0, "", [str(error)], [], [])
    looked_for = [str(path) for path in dataset.looked_for]
    try:
        source = dataset.source()
        found = _records.read(source, dataset.classes, deep=deep)
        mark = dataset.fingerprint()
    except DataError as error:
        return Report(name, False, 0, 0, "", [str(error)], [], looked_for)
    faults = _records.describe(found.faults, dataset.known, most=len(found.faults) + 1)
    faults += _changed(dataset) + _miscounted(dataset, source)
    known = [str(fault) for fault in found.faults if dataset.known(fault)]
    boxes = sum(len(record["annotations"]) for record in found.records)
    return Report(name, True, len(found.records), boxes, mark, faults, known, looked_for)


def check(name: str, root: Root = None, *, deep: bool = False) -> list[str]:
    """Faults of a data set, one line each; empty if it is ready for use. Known faults are in `inspect(...).known`."""
    return inspect(name, root, deep=deep).faults


def verify(name: str, expected: str, root: Root = None) -> None:
    """Make sure that the data are those a plan was made with.

    Raises:
        DataError: The fingerprint, stored or recomputed, is another one.
    """
    dataset = find(name, root)
    faults = _changed(dataset)
    if dataset.fingerprint() != expected:
        faults.append(f"its fingerprint is {dataset.fingerprint()}, the plan was made with {expected}")
    collect(faults, f"data set {name}", DataError)


def prepare(
    family: str, source: Root = None, root: Root = None, *, copy: bool = False, progress: Progress = quiet
) -> list[str]:
    """Put a data set where it is looked for: generate it, or link (or copy) it from `source`.

    Args:
        family: A module of this folder that has `prepare` (`shapes`, `coco`, `voc`, …).
        source: Folder that holds it now.
        root: Folder of data sets.
        copy: Copy instead of linking.
        progress: Is told how far it is.

    Returns:
        What was done, one line each.

    Raises:
        DataError: There is no such family, `source` lacks something, or `root` cannot be written to.
    """
    modules = {name: module for name, module in families().items() if hasattr(module, "prepare")}
    if family not in modules:
        raise DataError(f"there is no data set family {family}. {did_you_mean(family, modules)}")
    folder = None if source is None else Path(source).expanduser().resolve()
    where = datasets_root(root)
    if hasattr(modules[family], "HOME"):  # what is not generated goes there
        _prepared.check_writable(where)
    return modules[family].prepare(folder, where, copy, progress)


def register_all(root: Root = None) -> None:
    """Enter every named set into Detectron2's catalogues; those it has already (COCO, VOC) stay as they are."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for name, dataset in _registered(root).items():
        if name not in DatasetCatalog.list():
            DatasetCatalog.register(name, lambda name=name: load(name, root))
            MetadataCatalog.get(name).set(evaluator_type="coco")
            if dataset.classes is not None:
                MetadataCatalog.get(name).set(thing_classes=list(dataset.classes))


def _changed(dataset: Dataset) -> list[str]:
    before = dataset.fingerprint if dataset.stored is None else dataset.stored
    if dataset.actual is None or (known := before()) is None or (now := dataset.actual()) == known:
        return []
    return [f"{dataset.name}: changed since it was prepared: its fingerprint was {known} and is {now}"]


def _miscounted(dataset: Dataset, source: Source) -> list[str]:
    if dataset.expected is None:
        return []
    found = len(source.annotations["images"]), len(source.annotations["annotations"])
    return [
        f"{dataset.name}: has {count:,} {what}, published are {wanted:,}"
        for count, wanted, what in zip(found, dataset.expected, ("images", "annotations"), strict=True)
        if wanted >= 0 and count != wanted
    ]


__all__ = [
    "Dataset",
    "Fault",
    "Loaded",
    "Report",
    "Source",
    "annotation_file",
    "check",
    "class_names",
    "find",
    "fingerprint",
    "inspect",
    "load",
    "metadata",
    "names",
    "prepare",
    "read",
    "register_all",
    "verify",
]
