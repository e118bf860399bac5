"""How fast RT-DETRv2-S is on a CPU beside `transformers`' model with the same weights, and where its time goes.

    python benchmarks/perf/rtdetr.py [--sides 320 640] [--images 1] [--rounds 5] [--threads 1] [--profile]

An inference is the forward pass from pixels to the last layer's logits and boxes, which must agree; ours also with its
encoder fused, as it is deployed, and with the convolutions' channels last. A training step is forward, all losses
(denoising and auxiliary ones too, on either side) and backward. Rounds alternate between the two, and ratios are the
medians of those within a round, so that a busy neighbour hits both. Prints Markdown.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

from repro.engine import config
from repro.meta_arch.rtdetr import RTDETR
from repro.ops import ms_deform_attn
from repro.weights import rtdetr as weights

RECIPE, CLASSES, OBJECTS = "rtdetr/rtdetrv2_r18vd.py", 80, 7
Steps = Mapping[str, Callable[[], Any]]


def main() -> None:
    """Time both, and print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[320, 640])
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="say where the time of ours goes, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = config.build(config.resolve(RECIPE, {}, "paper").recipe["model"])
    settle(model)
    peer = theirs(model)
    print(f"torch {torch.__version__}, {args.threads} thread(s), {args.images} image(s), {args.rounds} rounds\n")
    print("| | side | ms | transformers, ms | ratio |\n|---|---|---|---|---|")
    for side in args.sides:
        compare("inference", side, *inferences(model, peer, side, args.images), args.rounds)
        compare("training step", side, *trainings(model, peer, side, args.images), args.rounds)
    print(f"\nattention by: {', '.join(sorted(ms_deform_attn.ran))}")
    if args.profile:
        explain(model, args.sides[-1], args.images)


def settle(model: RTDETR) -> None:
    """Give batch normalisation statistics under which random weights keep what they make in a sound range."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train().forward_tensors(torch.rand(2, 3, 320, 320))
    model.eval()


def theirs(model: RTDETR) -> nn.Module:
    """Their RT-DETRv2-S, trained in all its parts as ours is, with our weights."""
    backbone = RTDetrResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    settings = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[128, 256, 512],
        hidden_expansion=0.5,
        decoder_layers=3,
        num_labels=CLASSES,
        freeze_backbone_batch_norms=False,
    )
    peer = RTDetrV2ForObjectDetection(settings).eval()
    missing, unexpected = peer.load_state_dict(weights.to_transformers(model.state_dict(), 2), strict=False)
    assert not unexpected and all(name.endswith("n_points_scale") for name in missing)
    return peer


def inferences(model: RTDETR, peer: nn.Module, side: int, count: int) -> tuple[Steps, Callable[[], Any]]:
    """Forward passes of ours, by name, and of theirs."""
    pixels = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    fused = copy.deepcopy(model)
    fused.fuse()
    last = copy.deepcopy(fused).to(memory_format=torch.channels_last)
    steps = {
        "as trained": lambda: forward(model, pixels),
        "fused": lambda: forward(fused, pixels),
        "fused, channels last": lambda: forward(last, pixels.contiguous(memory_format=torch.channels_last)),
    }
    with torch.inference_mode():
        expected = peer(pixels)
    for name, step in steps.items():
        logits, boxes = step()
        for found, wanted in ((logits, expected.logits), (boxes, expected.pred_boxes)):
            # A query whose score ties with another's may be chosen in its place: all but a few must agree.
            close = torch.isclose(found, wanted, atol=1e-3).all(-1).float().mean()
            assert close > 0.95, f"{name}: only {close:.1%} of the queries agree"
    return steps, torch.inference_mode()(lambda: peer(pixels))


@torch.inference_mode()
def forward(model: RTDETR, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits and boxes of the last layer."""
    predictions = model.forward_tensors(pixels)
    return predictions.pred_logits, predictions.pred_boxes


def trainings(model: RTDETR, peer: nn.Module, side: int, count: int) -> tuple[Steps, Callable[[], Any]]:
    """Forward, losses and backward of the same images and objects, of copies of ours and of theirs.

    Copies, since training moves the statistics of batch normalisation, on either side in its own way.
    """
    model, peer = copy.deepcopy(model).train(), copy.deepcopy(peer).train()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    low = torch.rand(count, OBJECTS, 2, generator=generator) * 0.6
    size = torch.rand(count, OBJECTS, 2, generator=generator) * 0.3 + 0.05
    classes = torch.randint(CLASSES, (count, OBJECTS), generator=generator)
    inputs, labels = [], []
    for image in range(count):
        instances = Instances((side, side))
        instances.gt_boxes = Boxes(torch.cat([low[image], low[image] + size[image]], 1) * side)
        instances.gt_classes = classes[image]
        inputs.append({"image": pixels[image], "instances": instances})
        boxes = torch.cat([low[image] + size[image] / 2, size[image]], 1)
        labels.append({"class_labels": classes[image], "boxes": boxes})

    def ours() -> None:
        model.zero_grad(set_to_none=True)
        sum(model(inputs).values()).backward()

    def transformers() -> None:
        peer.zero_grad(set_to_none=True)
        peer(pixels / 255, labels=labels).loss.backward()

    return {"": ours}, transformers


def compare(what: str, side: int, ours: Steps, transformers: Callable[[], Any], rounds: int) -> None:
    """Time each of ours beside theirs, and print a line for each."""
    for name, step in ours.items():
        own, other = [], []
        for number in range(rounds + 1):
            pair = seconds(step), seconds(transformers)
            if number:  # the first one warms up
                own.append(pair[0])
                other.append(pair[1])
        ratio = statistics.median(b / a for a, b in zip(own, other, strict=True))
        label = f"{what}, {name}" if name else what
        milliseconds = (1e3 * statistics.median(values) for values in (own, other))
        print(
            f"| {label} | {side} | {' | '.join(f'{value:.0f}' for value in milliseconds)} | {ratio:.2f}× |", flush=True
        )


def seconds(step: Callable[[], Any]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def explain(model: RTDETR, side: int, count: int) -> None:
    """Print the operators that most of the time of an inference and of a training step goes into."""
    pixels = torch.rand(count, 3, side, side)
    (train,) = trainings(model, model, side, count)[0].values()
    for what, step in (("inference", lambda: forward(model, pixels)), ("training step", train)):
        with profile(activities=[ProfilerActivity.CPU]) as found:
            step()
        events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total = sum(event.self_cpu_time_total for event in events)
        print(f"\n{what} at {side}: {total / 1e3:.0f} ms\n\n| operator | share | calls |\n|---|---|---|")
        for event in events[:10]:
            print(f"| `{event.key}` | {event.self_cpu_time_total / total:.1%} | {event.count} |")


if __name__ == "__main__":
    main()
