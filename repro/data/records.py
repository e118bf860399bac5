"""From COCO-layout annotations to Detectron2's dataset dictionaries, judging every image and box on the way.

One pass finds all faults. Kinds of fault, and what leaving them out (`skip_bad`) means:

    missing image, truncated image, wrong size      the image and its boxes are left out
    duplicate image id, duplicate annotation id     the second one is left out
    degenerate box, out-of-frame box, no box        the annotation is left out
    unknown category, unknown image                 the annotation is left out
    malformed entry, malformed file                 the image, annotation or file is left out

A box that leaves the frame by at most `SLACK` pixels is clipped without a word: published annotations are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from repro.data.dataset import Fault, Source
from repro.data.images import probe

SLACK = 1.0  # pixels
THREADS = 8  # files are probed in threads: on a network file system waiting dominates
XYXY_ABS = 0  # detectron2.structures.BoxMode.XYXY_ABS, without importing Detectron2 (and torch) for one number

KINDS = (
    "missing image",
    "truncated image",
    "wrong size",
    "duplicate image id",
    "duplicate annotation id",
    "degenerate box",
    "out-of-frame box",
    "no box",
    "unknown category",
    "unknown image",
    "malformed entry",
    "malformed file",
)


class Read(NamedTuple):
    """Dataset dictionaries without the bad ones, every fault found, and all image ids in the order of the file."""

    records: list[dict[str, Any]]
    faults: list[Fault]
    order: list[int]


def read(source: Source, classes: tuple[str, ...] | None, *, files: bool = True, deep: bool = False) -> Read:
    """Check annotations and images, and turn what is sound into Detectron2's dataset dictionaries.

    Args:
        source: Annotations in COCO layout and the folder of the images.
        classes: Names expected, in contiguous order; None takes the categories as they stand, by ascending id.
        files: Look at the image files too.
        deep: Decode every image instead of judging it by header and end mark.

    Returns:
        Records sorted by image id, with `file_name`, `image_id`, `height`, `width` and `annotations` (`bbox` in
        absolute xyxy, `category_id` contiguous, `iscrowd`, `area`, and `segmentation` where there is one), faults,
        and the ids of all images, bad ones too, as they follow one another in the annotations.
    """
    faults = list(source.faults)
    images = _images(source, faults)
    if files:
        _probe(images, source, faults, deep)
    contiguous = category_numbers(source.annotations, classes)
    seen: set[Any] = set()
    for position, annotation in enumerate(source.annotations.get("annotations", ())):
        where = _where(source, annotation, position)
        try:
            fault = _add(annotation, images, contiguous, seen)
        except (KeyError, TypeError, ValueError) as error:
            fault = "malformed entry", f"{type(error).__name__}: {error}"
        if fault is not None:
            faults.append(Fault(fault[0], where, fault[1]))
    records = [images[image_id] for image_id in sorted(images) if images[image_id] is not None]
    return Read(records, faults, list(images))


def category_numbers(annotations: Mapping[str, Any], classes: tuple[str, ...] | None) -> dict[int, int]:
    """Category id in the file → contiguous number. Categories that `classes` does not name are left out."""
    categories = sorted(annotations.get("categories", ()), key=lambda category: category["id"])
    names = classes if classes is not None else tuple(category["name"] for category in categories)
    number = {name: index for index, name in enumerate(names)}
    return {category["id"]: number[category["name"]] for category in categories if category["name"] in number}


def numbered(names: Iterable[str]) -> list[dict[str, Any]]:
    """COCO categories with these names and ids from 1."""
    return [{"id": number, "name": name} for number, name in enumerate(names, start=1)]


def _images(source: Source, faults: list[Fault]) -> dict[Any, dict[str, Any] | None]:
    """Image id → record without annotations yet; None for images that are left out, so that their boxes are too."""
    images: dict[Any, dict[str, Any] | None] = {}
    for position, image in enumerate(source.annotations.get("images", ())):
        try:
            key, name = image["id"], image["file_name"]
            if not isinstance(key, int) or key < 0:
                raise ValueError(f"image id {key!r} is not a whole number from 0")
            size = {"height": int(image["height"]), "width": int(image["width"])}
        except (KeyError, TypeError, ValueError) as error:
            where = f"{source.file}, entry {position} of images"
            faults.append(Fault("malformed entry", where, f"{type(error).__name__}: {error}"))
            continue
        if key in images:
            where, other = f"{source.file}, image {key} ({name})", (images[key] or {}).get("file_name")
            faults.append(Fault("duplicate image id", where, f"the id is taken by {other}"))
            continue
        images[key] = {"file_name": str(source.images / name), "image_id": key, **size, "annotations": []}
    return images


def _probe(images: dict[Any, dict[str, Any] | None], source: Source, faults: list[Fault], deep: bool) -> None:
    """Replace the records of images that are missing or broken by None."""
    if images and not source.images.is_dir():
        faults.append(
            Fault("missing image", str(source.images), f"no such folder; it should hold {len(images)} images")
        )
        images.update(dict.fromkeys(images))
        return
    records = [record for record in images.values() if record is not None]
    with ThreadPoolExecutor(THREADS) as pool:
        probed = list(pool.map(lambda record: probe(record["file_name"], deep), records))
    for record, (size, problem) in zip(records, probed, strict=True):
        stated = (record["height"], record["width"])
        if problem is not None:
            kind = "missing image" if problem == "missing image" else "truncated image"
            fault = kind, f"{record['file_name']} {'does not exist' if kind == 'missing image' else 'is ' + problem}"
        elif size != stated:
            fault = "wrong size", f"the file is {size[1]}×{size[0]}, the annotations say {stated[1]}×{stated[0]}"
        else:
            continue
        faults.append(Fault(fault[0], f"{source.file}, image {record['image_id']}", fault[1]))
        images[record["image_id"]] = None


def _where(source: Source, annotation: Any, position: int) -> str:
    if not isinstance(annotation, Mapping):
        return f"{source.file}, entry {position} of annotations"
    if "origin" in annotation:
        return str(annotation["origin"])
    name = f"annotation {annotation['id']}" if "id" in annotation else f"entry {position} of annotations"
    return f"{source.file}, image {annotation.get('image_id')}, {name}"


def _add(
    annotation: Mapping[str, Any], images: dict[Any, dict[str, Any] | None], contiguous: dict[int, int], seen: set[Any]
) -> tuple[str, str] | None:
    """Append a sound annotation to its image's record; return (kind, what) for one that is not."""
    key = annotation.get("id")
    if key is not None and key in seen:
        return "duplicate annotation id", f"another annotation has id {key}"
    seen.add(key)
    image_id = annotation["image_id"]
    if image_id not in images:
        return "unknown image", f"no image has id {image_id}"
    record = images[image_id]
    if annotation["category_id"] not in contiguous:
        return "unknown category", f"category {annotation['category_id']} is not among those of the data set"
    if record is None:
        return None  # its image is left out and has been reported
    raw = annotation.get("bbox")
    if raw is None or len(raw) != 4:
        return "no box", f"bbox is {raw}"
    box, fault = framed(raw, record["height"], record["width"])
    if fault is not None:
        return fault
    entry = {
        "bbox": box,
        "bbox_mode": XYXY_ABS,
        "category_id": contiguous[annotation["category_id"]],
        "iscrowd": int(annotation.get("iscrowd", 0)),
    }
    entry.update({name: annotation[name] for name in ("area", "segmentation", "difficult") if name in annotation})
    record["annotations"].append(entry)
    return None


def framed(box: Iterable[float], height: int, width: int) -> tuple[list[float], tuple[str, str] | None]:
    """COCO box (x, y, width, height) → (xyxy clipped to the frame, fault or None)."""
    x, y, w, h = (float(value) for value in box)
    if not (w > 0 and h > 0 and x == x and y == y):
        return [], ("degenerate box", f"(x, y, width, height) = {_numbers(x, y, w, h)}")
    if min(x, y) < -SLACK or x + w > width + SLACK or y + h > height + SLACK:
        return [], (
            "out-of-frame box",
            f"(x, y, width, height) = {_numbers(x, y, w, h)} in an image of {width}×{height}",
        )
    clipped = [max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))]
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        return [], (
            "out-of-frame box",
            f"(x, y, width, height) = {_numbers(x, y, w, h)} in an image of {width}×{height}",
        )
    return clipped, None


def _numbers(*values: float) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def describe(faults: list[Fault], known: Callable[[Fault], bool], most: int = 20) -> list[str]:
    """Messages for the faults that are not known; past `most` of one kind the rest are counted, not listed."""
    news: dict[str, list[Fault]] = {}
    for fault in faults:
        if not known(fault):
            news.setdefault(fault.kind, []).append(fault)
    lines = []
    for kind, group in news.items():
        lines += [str(fault) for fault in group[:most]]
        if len(group) > most:
            lines.append(f"… and {len(group) - most:,} more of kind “{kind}”; `repro data check` lists all")
    return lines


def to_coco(records: list[dict[str, Any]], categories: list[dict[str, Any]], images: Path) -> dict[str, Any]:
    """COCO-layout dictionary of sound records: what the evaluator reads. `categories` are in contiguous order.

    Annotations get fresh ids; `ignore` is set for VOC's difficult objects, which evaluators that know it leave out.
    """
    coco: dict[str, Any] = {"info": {}, "images": [], "annotations": [], "categories": categories}
    for record in records:
        name = Path(record["file_name"])
        shown = str(name.relative_to(images)) if name.is_relative_to(images) else str(name)
        size = {"height": record["height"], "width": record["width"]}
        coco["images"].append({"id": record["image_id"], "file_name": shown, **size})
        for entry in record["annotations"]:
            x0, y0, x1, y1 = entry["bbox"]
            annotation = {
                "id": len(coco["annotations"]) + 1,
                "image_id": record["image_id"],
                "category_id": categories[entry["category_id"]]["id"],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": entry.get("area", (x1 - x0) * (y1 - y0)),
                "iscrowd": entry["iscrowd"],
            }
            if entry.get("difficult"):
                annotation["ignore"] = 1
            if "segmentation" in entry:
                annotation["segmentation"] = entry["segmentation"]
            coco["annotations"].append(annotation)
    return coco
