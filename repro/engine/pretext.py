"""The two ways in which a small scale pretrains the backbones that paper scale downloads: by labels, and by SwAV.

They stand in for ImageNet classification and for SwAV (Caron et al. 2020, "Unsupervised Learning of Visual Features
by Contrasting Cluster Assignments"), so that rows which differ by downloaded weights differ at every scale. Both
learn from the generated images of the small data sets, and both are sized to end in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as T

from repro.data.mapper import ImageReader
from repro.modeling.projection import projection_head


class LabelledCrops:
    """Mapper: one object of an image, cut out with some context, and its class.

    Args:
        size: side of the crop, pixels.
        context: how much further than the box the crop reaches, as a share of its sides.
        channels: RGB or BGR, as the detectors read.
    """

    def __init__(self, size: int, context: float = 0.2, channels: str = "RGB") -> None:
        self.size, self.context = size, context
        self.reader = ImageReader(channels, cache=True)

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
        objects = [annotation for annotation in record["annotations"] if not annotation["iscrowd"]]
        if not objects:
            return None  # the loader takes another image
        chosen = objects[rng.integers(len(objects))]
        x0, y0, x1, y1 = chosen["bbox"]
        grow = self.context * rng.uniform(0, 1, 4) * np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
        box = np.array([x0, y0, x1, y1]) + grow * np.array([-1, -1, 1, 1])
        crop = cut(self.reader(record), box, self.size)
        return {"views": [_flip(crop, rng)], "label": chosen["category_id"]}


class MultiCrop:
    """Mapper: random views of an image, two large and some small (Sec. 3.3 of the paper), with colour distortion.

    Args:
        sizes: side of each view, pixels; the first two are the large ones.
        areas: smallest and largest share of the image that a view shows, for each view.
    """

    def __init__(self, sizes: Sequence[int], areas: Sequence[Sequence[float]]) -> None:
        self.sizes, self.areas = list(sizes), [tuple(area) for area in areas]
        self.reader = ImageReader(cache=True)

    def __call__(self, record: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        image = self.reader(record)
        return {
            "views": [self._view(image, size, area, rng) for size, area in zip(self.sizes, self.areas, strict=True)]
        }

    def _view(self, image: Tensor, size: int, area: tuple[float, float], rng: np.random.Generator) -> Tensor:
        height, width = image.shape[1:]
        share, aspect = rng.uniform(*area), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        h, w = (
            min(height, (share * height * width / aspect) ** 0.5),
            min(width, (share * height * width * aspect) ** 0.5),
        )
        y, x = rng.uniform(0, height - h), rng.uniform(0, width - w)
        view = _flip(cut(image, np.array([x, y, x + w, y + h]), size), rng)
        view = T.adjust_brightness(view, rng.uniform(0.6, 1.4))
        view = T.adjust_contrast(view, rng.uniform(0.6, 1.4))
        view = T.adjust_saturation(view, rng.uniform(0.2, 1.8))
        return T.rgb_to_grayscale(view, num_output_channels=3) if rng.random() < 0.2 else view


def cut(image: Tensor, box_xyxy_abs: np.ndarray, size: int) -> Tensor:
    """The part of an image in a box, clipped to the image and at least 2 pixels wide, as a square of ``size``."""
    height, width = image.shape[1:]
    x0, y0 = (
        int(np.clip(round(low), 0, side - 2)) for low, side in zip(box_xyxy_abs[:2], (width, height), strict=True)
    )
    x1 = int(np.clip(round(box_xyxy_abs[2]), x0 + 2, width))
    y1 = int(np.clip(round(box_xyxy_abs[3]), y0 + 2, height))
    return T.resize(image[:, y0:y1, x0:x1], [size, size], antialias=True)


def _flip(image: Tensor, rng: np.random.Generator) -> Tensor:
    return image.flip(2) if rng.random() < 0.5 else image


class Pretext(nn.Module):
    """A backbone, averaged over space; subclasses add the task.

    Args:
        backbone: of Detectron2's make; its last output is used.
        pixel_mean: of RGB in 0..255, as in the detector.
        pixel_std: likewise.
    """

    def __init__(self, backbone: nn.Module, pixel_mean: Sequence[float], pixel_std: Sequence[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)
        self.channels = list(backbone.output_shape().values())[-1].channels

    def embed(self, inputs: Sequence[dict[str, Any]], view: int) -> Tensor:
        """Features [B, C] of the view of that number."""
        images = torch.stack([sample["views"][view] for sample in inputs]).to(self.pixel_mean.device)
        features = self.backbone((images.float() - self.pixel_mean) / self.pixel_std)
        return list(features.values())[-1].mean(dim=(2, 3))


class Classifier(Pretext):
    """Cross-entropy on labels: the stand-in for supervised ImageNet weights."""

    def __init__(
        self, backbone: nn.Module, num_classes: int, pixel_mean: Sequence[float], pixel_std: Sequence[float]
    ) -> None:
        super().__init__(backbone, pixel_mean, pixel_std)
        self.head = nn.Linear(self.channels, num_classes)

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Loss of a batch of `LabelledCrops`."""
        logits = self.head(self.embed(inputs, 0))
        labels = torch.tensor([sample["label"] for sample in inputs], device=logits.device)
        return {"loss_class": F.cross_entropy(logits, labels)}


class SwAV(Pretext):
    """Swapped prediction of cluster assignments (the paper's Eq. 1 and 2), without a queue.

    Args:
        backbone: see `Pretext`.
        num_prototypes: K of the paper.
        dim: of the normalised projection.
        temperature: tau of Eq. 2.
        epsilon: smoothness of the assignment, Eq. 3.
        pixel_mean: see `Pretext`.
        pixel_std: see `Pretext`.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_prototypes: int,
        dim: int,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        temperature: float = 0.1,
        epsilon: float = 0.05,
    ) -> None:
        super().__init__(backbone, pixel_mean, pixel_std)
        self.temperature, self.epsilon = temperature, epsilon
        self.projection = projection_head(self.channels, dim)
        self.prototypes = nn.Linear(dim, num_prototypes, bias=False)

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Loss of a batch of `MultiCrop`: every view predicts the assignment of the two large ones, but for its own."""
        weight = F.normalize(self.prototypes.weight, dim=1)  # prototypes lie on the unit sphere
        views = range(len(inputs[0]["views"]))
        scores = [F.normalize(self.projection(self.embed(inputs, view)), dim=1) @ weight.T for view in views]
        terms = []
        for large in (0, 1):
            assignment = sinkhorn(scores[large].detach(), self.epsilon)
            predictions = [F.log_softmax(scores[view] / self.temperature, dim=1) for view in views if view != large]
            terms += [-(assignment * prediction).sum(dim=1).mean() for prediction in predictions]
        return {"loss_swav": torch.stack(terms).mean()}


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = 3) -> Tensor:
    """Soft assignments [B, K] that use all prototypes equally (Eq. 3 to 5); rows sum to one."""
    assignment = (scores / epsilon - (scores / epsilon).max()).exp()
    for _ in range(iterations):
        assignment = assignment / assignment.sum(dim=0, keepdim=True) / assignment.shape[1]
        assignment = assignment / assignment.sum(dim=1, keepdim=True) / assignment.shape[0]
    return assignment * assignment.shape[0]
