"""What the unlabelled branch of Soft Teacher costs beside a supervised step of the same images, and where it goes.

    python benchmarks/perf/soft_teacher.py [--scale tiny] [--images 4] [--rounds 7] [--threads 1]

Both are a forward and a backward pass over the same images at the same size: one of the detector with labels, one of
the whole unlabelled branch (teacher, pseudo boxes, jittering, student, teacher's scores), with as many pseudo boxes as
there are objects. Rounds alternate, and medians are compared, so that whatever else the machine does hits both. The
second table adds up the time within calls of the parts; what a part calls of another one counts for the other one only.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.structures import Boxes, Instances
from torch import nn

from repro.engine import config
from repro.modeling.pseudo_boxes import ByVariance

SIZES = {"paper": (800, 1333), "small": (96, 128), "tiny": (64, 96), "smoke": (64, 96)}


def main() -> None:
    """Time both, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", default="tiny", choices=SIZES)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--objects", type=int, default=4, help="objects in an image, and pseudo boxes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    recipe = config.resolve("soft_teacher/soft_teacher_coco_percent.py", {}, args.scale).recipe
    recipe["model"]["burn_in"] = 0
    model = config.build(recipe["model"]).train()
    calibrate(model.student, SIZES[args.scale])
    model.before_step(0)
    find_objects(model, args.objects)
    labelled, unlabelled = samples(SIZES[args.scale], args.images, args.objects)
    steps: dict[str, Callable[[], Any]] = {
        "supervised": lambda: step(model, labelled),
        "unlabelled": lambda: step(model, unlabelled),
    }
    seconds = alternating(steps, args.rounds)
    print(f"{args.scale}: {args.images} images of {SIZES[args.scale]}, {args.objects} pseudo boxes each\n")
    for name, values in seconds.items():
        print(
            f"{name:12} {1e3 * statistics.median(values):9.1f} ms  ({1e3 * min(values):.1f} to {1e3 * max(values):.1f})"
        )
    ratios = [u / s for u, s in zip(seconds["unlabelled"], seconds["supervised"], strict=True)]
    print(f"{'ratio':12} {statistics.median(ratios):9.2f}     ({min(ratios):.2f} to {max(ratios):.2f})\n")
    with timed(model) as spent:
        steps["unlabelled"]()
    whole = sum(spent.values())
    for name, value in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{name:36} {1e3 * value:9.1f} ms {100 * value / whole:5.1f} %")


@torch.no_grad()
def calibrate(detector: nn.Module, size: tuple[int, int]) -> None:
    """Give frozen batch norm the statistics of noise; else features explode, and with them all proposals but a few."""

    def measure(norm: FrozenBatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    norms = [module for module in detector.modules() if isinstance(module, FrozenBatchNorm2d)]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    detector.backbone(255 * torch.rand(1, 3, size[0] // 32 * 32, size[1] // 32 * 32) - 110)
    for handle in handles:
        handle.remove()


def find_objects(model: nn.Module, count: int) -> None:
    """Make the teacher answer as many boxes as a trained one would: thresholds at what an untrained one reaches."""
    method = model.method
    method.score_threshold = method.rpn_threshold = method.cls_threshold = 0.0
    method.regression = ByVariance(float("inf"), method.regression.jitter)
    for part in (model.student, model.teacher):
        part.roi_heads.box_predictor.test_topk_per_image = count
        part.roi_heads.box_predictor.test_score_thresh = 0.0


def samples(size: tuple[int, int], images: int, objects: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The same pixels with labels, and as views of which the strong one is a mirror image."""
    height, width = size
    labelled, unlabelled = [], []
    for index in range(images):
        pixels = torch.randint(256, (3, height, width), dtype=torch.uint8)
        low = torch.rand(objects, 2) * torch.tensor([width, height]) * 0.5
        boxes = torch.cat([low, low + torch.tensor([width, height]) * 0.3], dim=1)
        instances = Instances(size, gt_boxes=Boxes(boxes), gt_classes=torch.randint(8, (objects,)))
        labelled.append({"image": pixels, "instances": instances, "height": height, "width": width, "image_id": index})
        mirror = torch.tensor([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
        weak = {"image": pixels, "matrix": torch.eye(3, dtype=torch.float64)}
        unlabelled.append({"weak": weak, "strong": {"image": pixels.flip(-1).contiguous(), "matrix": mirror}})
    return labelled, unlabelled


def step(model: nn.Module, batch: list[dict[str, Any]]) -> None:
    """Forward and backward."""
    model.zero_grad(set_to_none=True)
    sum(model(batch).values()).backward()


def alternating(steps: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, taken in turns, after a round that does not count."""
    seconds = defaultdict(list)
    for turn in range(rounds + 1):
        for name, call in steps.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


@contextmanager
def timed(model: nn.Module) -> Iterator[dict[str, float]]:
    """Seconds by part while the model runs, each without what it calls of the others."""
    spent: dict[str, float] = defaultdict(float)
    stack = [("rest (backward in most part)", time.perf_counter())]

    def enter(name: str) -> None:
        now = time.perf_counter()
        spent[stack[-1][0]] += now - stack[-1][1]
        stack.append((name, now))

    def leave() -> None:
        now = time.perf_counter()
        name, since = stack.pop()
        spent[name] += now - since
        stack[-1] = (stack[-1][0], now)

    handles = []
    for owner in ("student", "teacher"):
        detector = getattr(model, owner)
        parts = {
            "backbone": detector.backbone,
            "RPN": detector.proposal_generator,
            "RoI heads": detector.roi_heads,
            "RoIAlign": detector.roi_heads.box_pooler,
            "box head": detector.roi_heads.box_head,
        }
        for name, part in parts.items():
            label = f"{owner}: {name}"
            handles.append(part.register_forward_pre_hook(lambda *_, label=label: enter(label)))
            handles.append(part.register_forward_hook(lambda *_: leave()))
    try:
        yield spent
    finally:
        spent[stack[-1][0]] += time.perf_counter() - stack[-1][1]
        for handle in handles:
            handle.remove()


if __name__ == "__main__":
    main()
