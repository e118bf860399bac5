"""How long matching takes: costs within each image, against those to every object of the batch, as published.

Both hand the same matrices to the same exact solver, and must agree on every match. Setting: Deformable DETR's focal
costs, batch 16, seven sets of predictions (six decoder layers and the encoder), one thread. Prints a Markdown table;
times are medians over interleaved rounds, since a busy neighbour disturbs a single one.

    python benchmarks/perf/matcher.py [--rounds 9] [--device cpu]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import generalized_box_iou

from repro.modeling.boxes import cxcywh_to_xyxy
from repro.modeling.matching import HungarianMatcher, Targets

SETS, IMAGES, CLASSES = 7, 16, 80
CASES = ((300, 7), (300, 30), (900, 7), (900, 30))
"""Queries, and objects an image on average."""

Case = tuple[Tensor, Tensor, Targets]


def case(queries: int, objects: int, device: torch.device) -> Case:
    """Random predictions, and images with Poisson many objects."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(objects, IMAGES)
    labels = [torch.from_numpy(rng.integers(CLASSES, size=count)).to(device) for count in counts]
    boxes = [torch.from_numpy(rng.uniform(0.1, 0.5, (count, 4)).astype(np.float32)).to(device) for count in counts]
    torch.manual_seed(0)
    logits = torch.randn(SETS, IMAGES, queries, CLASSES, device=device) - 3
    found = torch.rand(SETS, IMAGES, queries, 4, device=device) * 0.4 + 0.1
    return logits, found, Targets.pad(labels, boxes)


def full_block(logits: Tensor, boxes: Tensor, targets: Targets) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Every query of a batch against every object of it, set by set, of which only the blocks of one image are used."""
    counts = list(targets.counts)
    labels = torch.cat([row[:count] for row, count in zip(targets.labels, counts, strict=True)])
    wanted = torch.cat([row[:count] for row, count in zip(targets.boxes_cxcywh_rel, counts, strict=True)])
    matches = []
    for set_logits, set_boxes in zip(logits, boxes, strict=True):
        probability, flat = set_logits.flatten(0, 1).sigmoid(), set_boxes.flatten(0, 1)
        positive = 0.25 * (1 - probability) ** 2 * -(probability + 1e-8).log()
        negative = 0.75 * probability**2 * -(1 - probability + 1e-8).log()
        cost = 2 * (positive - negative)[:, labels] + 5 * torch.cdist(flat, wanted, p=1)
        cost = cost - 2 * generalized_box_iou(cxcywh_to_xyxy(flat), cxcywh_to_xyxy(wanted))
        blocks = cost.view(IMAGES, -1, len(labels)).cpu().split(counts, -1)
        matches.append([linear_sum_assignment(block[image]) for image, block in enumerate(blocks)])
    return matches


def agree(given: Case) -> None:
    """Stop unless both find the same matches."""
    ours, theirs = HungarianMatcher()(*given), full_block(*given)
    for index, found in enumerate(theirs):
        for image, (rows, columns) in enumerate(found):
            if not np.array_equal(ours.query[index, image, columns].cpu().numpy(), rows):
                raise SystemExit(f"set {index}, image {image}: the two matchers disagree")


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """Of one call, the device's work included."""
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def row(queries: int, objects: int, rounds: int, device: torch.device) -> str:
    """One line of the table."""
    given = case(queries, objects, device)
    agree(given)  # warms up, too
    matcher, times = HungarianMatcher(), {"block": [], "full": [], "cost": []}
    for _ in range(rounds):
        times["block"].append(seconds(lambda: matcher(*given), device))
        times["full"].append(seconds(lambda: full_block(*given), device))
        times["cost"].append(seconds(lambda: matcher.cost(*given), device))
    block, full, cost = (1e3 * statistics.median(times[name]) for name in ("block", "full", "cost"))
    share = 100 * cost / block
    return f"| {queries}, ~{objects} | {full:.0f} ms | {block:.0f} ms | {full / block:.1f}× | {share:.0f} % |"


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    print(f"{SETS} sets, {IMAGES} images, {CLASSES} classes, one thread, {device}, torch {torch.__version__}\n")
    print(
        "| queries, objects | every object of the batch | its own image's | | of which costs |\n|---|---|---|---|---|"
    )
    for queries, objects in CASES:
        print(row(queries, objects, arguments.rounds, device), flush=True)


if __name__ == "__main__":
    main()
