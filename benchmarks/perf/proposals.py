"""Region proposals: speed of OpenCV's Selective Search and of ours, how often both find the same, what they are worth.

Prints Markdown. One thread, images decoded beforehand. Rates are images a second of processor time, which a busy
neighbour disturbs less than the clock's, in medians over interleaved rounds; hours are for the 1,281,167 images of
ImageNet-1k. Recall at K is the share of objects that one of the first K boxes meets with
an IoU of 0.5 or more.

    python benchmarks/perf/proposals.py [--voc FOLDER ...] [--parts speed sets recall] [--images 24] [--rounds 3]

A folder holds JPEG files and Pascal VOC's XML files, each anywhere below it. Generated images are always measured.
"""

from __future__ import annotations

import argparse
import statistics
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from repro.data.datasets import shapes
from repro.data.images import read_image
from repro.data.propose import Method

IMAGENET = 1_281_167
SIZES = ((128, 128), (500, 375), (640, 480))
TOPS = (1, 10, 30, 100, 1000)
NATIVE = {"engine": "native", "ranking": "level"}
OPENCV = {"engine": "opencv", "ranking": "opencv"}
WAYS = {
    "Selective Search, authors' setting: 128×128, RGB as BGR, ours": NATIVE,
    "… the same, OpenCV's engine and order": OPENCV,
    "… the same, OpenCV's engine, order by depth": {"engine": "opencv", "ranking": "depth"},
    "Selective Search, 128×128, right channels, ours": NATIVE | {"channel_order": "BGR"},
    "Selective Search, clean: whole image, right channels, ours": NATIVE | {"channel_order": "BGR", "size": None},
    "Edge Boxes on a Sobel map (ours, not the published edges)": {"method": "edge_boxes", "edges": "sobel"},
    "random boxes": {"method": "random", "max_boxes": 1000},
}


class Photograph(NamedTuple):
    """An image, RGB, and the boxes of its objects [N, 4] xyxy."""

    image: np.ndarray
    boxes: np.ndarray


def generated(count: int) -> list[Photograph]:
    """Of the generated set `shapes_small_train`."""
    found = []
    for index in range(count):
        image, entries = shapes.image("small", "train", index)
        boxes = np.array([entry["bbox"] for entry in entries], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found.append(Photograph(image, boxes))
    return found


def photographs(folder: Path, count: int) -> list[Photograph]:
    """Evenly spread over the folder's images that have objects."""
    files = {file.stem: file for file in folder.rglob("*.jp*g")}
    notes = sorted(file for file in folder.rglob("*.xml") if file.stem in files)
    found = []
    for note in notes[:: max(len(notes) // count, 1)][:count]:
        tags = ("xmin", "ymin", "xmax", "ymax")
        boxes = [[float(box.findtext(tag, "0")) for tag in tags] for box in ElementTree.parse(note).iter("bndbox")]
        if boxes:
            found.append(Photograph(read_image(files[note.stem]), np.array(boxes)))
    return found


def seconds(method: Method, images: list[np.ndarray]) -> float:
    """Processor time an image takes, on average."""
    start = time.process_time()
    for image in images:
        method.search(image, 0)
    return (time.process_time() - start) / len(images)


def speed(sets: dict[str, list[Photograph]], rounds: int) -> str:
    """Table of both engines at three sizes, on the photographs where there are some."""
    chosen = list(sets.values())[-1]
    lines = [
        "| size | images | OpenCV, images/s | ours, images/s | ratio | ImageNet-1k, OpenCV | ImageNet-1k, ours |",
        "|---|---|---|---|---|---|---|",
    ]
    methods = [Method.of({**engine, "size": None}) for engine in (OPENCV, NATIVE)]
    for width, height in SIZES:
        images = [cv2.resize(one.image, (width, height)) for one in chosen[: 16 if width == 128 else 3]]
        times: list[tuple[float, float]] = []
        for turn in range(rounds + 1):
            spent = seconds(methods[0], images), seconds(methods[1], images)
            if turn or width > 128:  # warm after the first size
                times.append(spent)
        theirs, ours = (statistics.median(values) for values in zip(*times, strict=True))
        ratio = statistics.median(a / b for a, b in times)
        hours = [f"{IMAGENET * value / 3600:.0f} core-hours" for value in (theirs, ours)]
        rates = f"{1 / theirs:.1f} | {1 / ours:.1f} | {ratio:.1f}×"
        lines.append(f"| {width}×{height} | {len(images)} | {rates} | {hours[0]} | {hours[1]} |")
    return "\n".join(lines)


def same(sets: dict[str, list[Photograph]]) -> str:
    """Table of how often the two engines find equal sets of boxes."""
    lines = ["| images | size | equal sets | boxes that differ |", "|---|---|---|---|"]
    for name, found in sets.items():
        for size in SIZES[:2]:
            images = [cv2.resize(one.image, size) for one in found[:: 1 if size[0] == 128 else 3]]
            equal = differing = total = 0
            for image in images:
                theirs, ours = (
                    {tuple(box) for box in Method.of({**way, "size": None}).search(image, 0).boxes.tolist()}
                    for way in (OPENCV, NATIVE)
                )
                equal += theirs == ours
                differing += len(theirs ^ ours)
                total += len(theirs)
            lines.append(
                f"| {name} | {size[0]}×{size[1]} | {equal} of {len(images)} | {differing} of {total} "
                f"({100 * differing / total:.2g} %) |"
            )
    return "\n".join(lines)


def recall(sets: dict[str, list[Photograph]]) -> str:
    """Table of recall at K for every way to propose."""
    tops = " | ".join(f"R@{top}" for top in TOPS)
    lines = [f"| images | proposals | boxes an image | {tops} |", "|---|---|---|" + "---|" * len(TOPS)]
    for name, found in sets.items():
        for title, way in WAYS.items():
            method = Method.of(way)
            hits, boxes = [], []
            for number, one in enumerate(found):
                candidates = method.search(one.image, number).boxes.astype(float)
                if method.settings.size is not None:
                    height, width = one.image.shape[:2]
                    candidates *= np.array([width, height] * 2) / method.settings.size
                hits.append(first_hits(candidates, one.boxes))
                boxes.append(len(candidates))
            first = np.concatenate(hits)
            shares = " | ".join(f"{100 * (first < top).mean():.1f}" for top in TOPS)
            lines.append(f"| {name} | {title} | {np.mean(boxes):.0f} | {shares} |")
    return "\n".join(lines)


def first_hits(candidates: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Position of the first candidate with an IoU of 0.5 for each object; infinite where there is none."""
    sides = np.minimum(candidates[:, None, 2:], truth[None, :, 2:]) - np.maximum(
        candidates[:, None, :2], truth[None, :, :2]
    )
    both = sides.clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (candidates, truth)]
    hit = both >= 0.5 * (areas[0][:, None] + areas[1] - both)
    return np.where(hit.any(0), hit.argmax(0), np.inf)


def processor() -> str:
    """The machine's name for its processor."""
    names = [line.partition(":")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return names[0].strip() if names else "unknown processor"


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc", type=Path, nargs="*", default=[], help="folders of photographs with VOC annotations")
    parts = {"speed": "Speed", "sets": "Equal sets of boxes", "recall": "Recall at K, IoU 0.5, %"}
    parser.add_argument("--parts", nargs="*", default=list(parts), choices=parts)
    parser.add_argument("--images", type=int, default=24, help="images of each set")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    sets = {"generated": generated(arguments.images)}
    sets |= {folder.name: photographs(folder, arguments.images) for folder in arguments.voc}
    work = {"speed": lambda: speed(sets, arguments.rounds), "sets": lambda: same(sets), "recall": lambda: recall(sets)}
    print(f"One thread of {processor()}, OpenCV {cv2.__version__}, Selective Search with the fast preset")
    for part in arguments.parts:
        print(f"\n## {parts[part]}\n\n{work[part]()}", flush=True)


if __name__ == "__main__":
    main()
