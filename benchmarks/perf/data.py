"""How many images a second one core prepares, against PIL with float32 as the DETR family's published code does.

Prints a Markdown table: decoding alone, training samples of the DETR family (flip–resize–crop–resize) and of RT-DETR
(colours, zoom-out, IoU crop, flip, 640²), test images, and DETReg's crops. Rates are medians over interleaved rounds,
since a busy neighbour disturbs a single one.

    python benchmarks/perf/data.py [--images FOLDER] [--rounds 5]

Without a folder it generates 640×480 JPEG files of about 60 kB.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes, TVTensor

from repro.data.augmentations.crops import CropViews
from repro.data.augmentations.detr import DetrAugmentation, resized
from repro.data.augmentations.rtdetr import RTDETRAugmentation
from repro.data.images import read_image
from repro.data.mapper import ImageReader, TrainMapper

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
Work = Callable[[dict[str, Any], np.random.Generator], Any]


def generated(folder: Path, count: int) -> None:
    """Write photographs of nothing: smooth colours with grain, 640×480."""
    for index in range(count):
        rng = np.random.default_rng(index)
        smooth = cv2.resize(rng.random((12, 16, 3), np.float32) * 255, (640, 480), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(smooth + rng.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{index:03d}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])


def described(files: list[Path]) -> list[dict[str, Any]]:
    """Records with seven objects each, COCO's mean."""
    records = []
    for image_id, file in enumerate(files):
        height, width = read_image(file).shape[:2]
        corners = np.random.default_rng(image_id).uniform(0, 0.5, (7, 4)) * [width, height, width, height]
        boxes = corners + np.array([0, 0, width / 2, height / 2])
        entries = [{"bbox": box.tolist(), "category_id": 0, "iscrowd": 0} for box in boxes]
        sizes = {"height": height, "width": width}
        records.append({"file_name": str(file), "image_id": image_id, **sizes, "annotations": entries})
    return records


def pil_float32(record: dict[str, Any], rng: np.random.Generator) -> torch.Tensor:
    """What the published code does, with the choices of `DetrAugmentation`: PIL, then float32, normalised."""
    image = Image.open(record["file_name"]).convert("RGB")
    for step in DetrAugmentation().get_transform(torch.empty(3, image.height, image.width), rng).transforms:
        name = type(step).__name__
        if name == "Flip":
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        elif name == "Crop":
            image = image.crop((step.x0, step.y0, step.x0 + step.w, step.y0 + step.h))
        else:
            image = image.resize((step.new_width, step.new_height), Image.Resampling.BILINEAR)
    return functional.normalize(functional.to_dtype(functional.pil_to_tensor(image), scale=True), MEAN, STD)


def torchvision_steps() -> list[torch.nn.Module]:
    """RT-DETR's augmentation as the published code composes it, up to the resize."""
    return [
        v2.RandomPhotometricDistort(),
        v2.RandomZoomOut(fill=0),
        v2.RandomApply([v2.RandomIoUCrop()], 0.8),
        v2.SanitizeBoundingBoxes(min_size=1),
        v2.RandomHorizontalFlip(),
        v2.Resize((640, 640)),
        v2.SanitizeBoundingBoxes(min_size=1),
    ]


def strong(image: Any, record: dict[str, Any], rng: np.random.Generator, steps: v2.Compose) -> Any:
    """An image (PIL or tensor) and its objects through torchvision's transforms."""
    torch.manual_seed(int(rng.integers(2**31)))
    boxes = torch.tensor([entry["bbox"] for entry in record["annotations"]])
    size = record["height"], record["width"]
    target: dict[str, TVTensor] = {"boxes": BoundingBoxes(boxes, format="XYXY", canvas_size=size)}
    return steps(image, target | {"labels": torch.zeros(len(boxes), dtype=torch.int64)})


def strong_contenders() -> list[tuple[str, Work]]:
    """RT-DETR's samples three ways."""
    reader = ImageReader()
    on_pil = v2.Compose([*torchvision_steps(), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)])
    on_tensor = v2.Compose(torchvision_steps())
    return [
        (
            "PIL, torchvision",
            lambda record, rng: strong(Image.open(record["file_name"]).convert("RGB"), record, rng, on_pil),
        ),
        ("torchvision on uint8", lambda record, rng: strong(reader(record), record, rng, on_tensor)),
        ("ours, uint8", TrainMapper(RTDETRAugmentation())),
    ]


def pil_crops(record: dict[str, Any], boxes: np.ndarray) -> torch.Tensor:
    """Thirty crops with PIL and torchvision's transforms, one by one."""
    image = Image.open(record["file_name"]).convert("RGB")
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8)
    grey = v2.RandomGrayscale(0.2)
    crops = []
    for number, box in enumerate(boxes):
        crop = grey(jitter(image.crop(tuple(box.tolist())).resize((128, 128), Image.Resampling.BILINEAR)))
        crop = crop.filter(ImageFilter.GaussianBlur(1.0)) if number % 2 else crop
        crops.append(functional.normalize(functional.to_dtype(functional.pil_to_tensor(crop), scale=True), MEAN, STD))
    return torch.stack(crops)


def contenders() -> list[tuple[str, str, Work]]:
    """(group, name, work); the first of a group is what the others are measured against."""
    reader, mapper = ImageReader(), TrainMapper(DetrAugmentation())
    cached = TrainMapper(DetrAugmentation(), cache_images=True)
    views = CropViews(128)
    boxes = np.random.default_rng(0).uniform(0, 150, (30, 4)) + np.array([0, 0, 150, 150])
    evaluation = 800, 1333
    return [
        ("decode", "PIL", lambda record, rng: np.asarray(Image.open(record["file_name"]).convert("RGB"))),
        ("decode", "ours", lambda record, rng: reader(record)),
        ("train sample", "PIL, float32", pil_float32),
        ("train sample", "ours, uint8, with boxes", mapper),
        ("train sample", "ours, images kept in memory", cached),
        *(("RT-DETR sample, 640²", name, work) for name, work in strong_contenders()),
        ("test image, 800", "PIL, float32", lambda record, rng: pil_resized(record, *evaluation)),
        ("test image, 800", "ours, uint8", lambda record, rng: our_resized(reader(record), *evaluation)),
        ("30 crops of 128", "PIL, torchvision, float32", lambda record, rng: pil_crops(record, boxes)),
        ("30 crops of 128", "ours, uint8", lambda record, rng: views(reader(record), boxes, rng)),
    ]


def pil_resized(record: dict[str, Any], short: int, limit: int) -> torch.Tensor:
    """A test image with PIL, float32, normalised."""
    image = Image.open(record["file_name"]).convert("RGB")
    height, width = resized(image.height, image.width, short, limit)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return functional.normalize(functional.to_dtype(functional.pil_to_tensor(image), scale=True), MEAN, STD)


def our_resized(image: torch.Tensor, short: int, limit: int) -> torch.Tensor:
    """A test image with ours, uint8."""
    return functional.resize(image, list(resized(*image.shape[1:], short, limit)), antialias=True)


def rate(work: Work, records: list[dict[str, Any]], turn: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    for record in records:
        work(record, np.random.default_rng([turn, record["image_id"]]))
    return len(records) / (time.perf_counter() - start)


def table(records: list[dict[str, Any]], rounds: int) -> str:
    """Measure, and lay out in Markdown."""
    found = contenders()
    rates: list[list[float]] = [[] for _ in found]
    for turn in range(rounds + 1):
        for position, (_, _, work) in enumerate(found):
            measured = rate(work, records, turn)
            if turn:  # the first round warms up
                rates[position].append(measured)
    lines = ["| what | how | images/s | against the first |", "|---|---|---|---|"]
    reference = ("", 0.0)
    for (group, name, _), values in zip(found, rates, strict=True):
        middle = statistics.median(values)
        reference = (group, middle) if group != reference[0] else reference
        lines.append(f"| {group} | {name} | {middle:.0f} | {middle / reference[1]:.2f}× |")
    return "\n".join(lines)


def main() -> None:
    """Parse arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder of JPEG files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=24, help="images a round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.images or Path(temporary)
        if arguments.images is None:
            generated(folder, arguments.count)
        files = sorted(folder.glob("*.jp*g"))[: arguments.count]
        size = sum(file.stat().st_size for file in files) / len(files) / 1024
        print(f"{len(files)} images of about {size:.0f} kB, one thread, torch {torch.__version__}\n")
        print(table(described(files), arguments.rounds))


if __name__ == "__main__":
    main()
