"""Testing at several scales, mirrored or not: Detectron2's `GeneralizedRCNNWithTTA`, around any detector of ours.

Each image is detected in all its views; detections of all of them compete in one suppression. Where there is one view
only, nothing competes, and the result is the detector's own. Masks come last, as in Detectron2: for the boxes that are
left, the detector gives masks in every view, and their probabilities are averaged.

Images have to come as they are, not resized: this does it, on the device, as `ResizeShortEdge` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from jaxtyping import Float
from torch import Tensor, nn

from repro.data.augmentations.detr import ResizeShortEdge
from repro.modeling.suppression import HardNMS, SoftNMS


class MultiScale(nn.Module):
    """A detector in inference.

    Args:
        detector: answers as the detector contract says. One whose answers have ``pred_masks`` also has Detectron2's
            ``inference(inputs, detected_instances, do_postprocess=False)``, and may have ``boxes``, which answers
            without masks. A model that holds several detectors says by ``answering`` which of them it is.
        scales: (shorter side, most of the longer side) of each view, pixels.
        flip: look at each view mirrored too.
        suppress: of detections that several views have in common.
        topk: most detections of an image.
    """

    def __init__(
        self,
        detector: nn.Module,
        scales: Sequence[Sequence[int]],
        flip: bool = True,
        suppress: HardNMS | SoftNMS | None = None,
        topk: int = 100,
    ) -> None:
        super().__init__()
        self.model = detector
        self.resizes = [ResizeShortEdge(short_edge, max_size) for short_edge, max_size in scales]
        self.flips = (False, True) if flip else (False,)
        self.suppress, self.topk = suppress or HardNMS(), topk

    @property
    def detector(self) -> nn.Module:
        """Who is asked."""
        return getattr(self.model, "answering", self.model)

    @torch.no_grad()
    def forward(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Instances]]:
        """Detections of each image, best first."""
        return [{"instances": self._detect(sample)} for sample in inputs]

    def views(self, sample: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
        """The sample with other images, and whether each is mirrored; one at a time, since they may be large."""
        for resize in self.resizes:
            image = resize.get_transform(sample["image"]).apply_image(sample["image"])
            for mirrored in self.flips:
                yield {**sample, "image": image.flip(-1) if mirrored else image}, mirrored

    def _detect(self, sample: dict[str, Any]) -> Instances:
        find = getattr(self.detector, "boxes", self.detector)
        found = []
        for view, mirrored in self.views(sample):
            (answer,) = find([view])
            found.append(unmirrored(answer["instances"]) if mirrored else answer["instances"])
        merged = found[0] if len(found) == 1 else self._merged(found)
        return self._with_masks(sample, merged) if hasattr(self.detector, "boxes") else merged

    def _merged(self, found: Sequence[Instances]) -> Instances:
        boxes = torch.cat([each.pred_boxes.tensor for each in found])
        scores = torch.cat([each.scores for each in found])
        classes = torch.cat([each.pred_classes for each in found])
        kept, scores = self.suppress(boxes, scores, classes)
        kept, scores = kept[: self.topk], scores[: self.topk]
        return Instances(found[0].image_size, pred_boxes=Boxes(boxes[kept]), scores=scores, pred_classes=classes[kept])

    def _with_masks(self, sample: dict[str, Any], merged: Instances) -> Instances:
        """The same detections with ``pred_masks``, bool [N, H, W]."""
        total, views = 0.0, 0
        for view, mirrored in self.views(sample):
            there = in_view(merged, view["image"].shape[1:], mirrored)
            (answer,) = self.detector.inference([view], [there], do_postprocess=False)
            total = total + (answer.pred_masks.flip(-1) if mirrored else answer.pred_masks)
            views += 1
        merged.pred_masks = total / views
        return detector_postprocess(merged, *merged.image_size)


def unmirrored(found: Instances) -> Instances:
    """Detections of a mirrored image, as if it were not."""
    return Instances(
        found.image_size,
        pred_boxes=Boxes(mirrored(found.pred_boxes.tensor, found.image_size[1])),
        scores=found.scores,
        pred_classes=found.pred_classes,
    )


def mirrored(boxes_xyxy_abs: Float[Tensor, "N 4"], width: float) -> Float[Tensor, "N 4"]:
    """Boxes in the mirrored image."""
    x0, y0, x1, y1 = boxes_xyxy_abs.unbind(1)
    return torch.stack([width - x1, y0, width - x0, y1], dim=1)


def in_view(found: Instances, size: Sequence[int], mirror: bool) -> Instances:
    """Boxes and classes in a view of this size (height, width)."""
    boxes = found.pred_boxes.clone()
    boxes.scale(size[1] / found.image_size[1], size[0] / found.image_size[0])
    if mirror:
        boxes = Boxes(mirrored(boxes.tensor, size[1]))
    return Instances(tuple(size), pred_boxes=boxes, pred_classes=found.pred_classes)
