"""A detector as one graph of tensors, with RT-DETR's interface: what is exported, compiled and timed.

The interface is that of RT-DETR's exporter, so that programs written for its files run ours. Pixels come in as 0…1; a
normalisation that the detector has beyond that is in the graph.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from repro.errors import ExportError
from repro.modeling.boxes import cxcywh_to_xyxy

INPUTS = ("images", "orig_target_sizes")
OUTPUTS = ("labels", "boxes", "scores")
RAW_OUTPUTS = ("pred_logits", "pred_boxes")


class RawGraph(nn.Module):
    """The last decoder layer's answer, as it is.

    Args:
        detector: of the DETR family, in evaluation.
    """

    inputs, outputs = INPUTS[:1], RAW_OUTPUTS

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector
        mean, std = detector.pixel_mean / 255, detector.pixel_std / 255
        self.plain = not mean.any() and bool((std == 1).all())
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "B Q K"], Float[Tensor, "B Q 4"]]:
        """Class logits, and boxes cxcywh in 0…1, of RGB images in 0…1 of one size."""
        predictions = self.detector.forward_tensors(images if self.plain else (images - self.mean) / self.std)
        return predictions.pred_logits, predictions.pred_boxes


class DetectionGraph(RawGraph):
    """The same, and the detections that are kept of it."""

    inputs, outputs = INPUTS, OUTPUTS

    def forward(
        self, images: Float[Tensor, "B 3 H W"], orig_target_sizes: Int64[Tensor, "B 2"]
    ) -> tuple[Int64[Tensor, "B N"], Float[Tensor, "B N 4"], Float[Tensor, "B N"]]:
        """Detections, best first.

        Args:
            images: RGB in 0…1.
            orig_target_sizes: (width, height) of the images that these were resized from.

        Returns:
            Classes, boxes xyxy in pixels of the original images, and scores in 0…1.
        """
        logits, boxes_cxcywh_rel = super().forward(images)
        scores, query, labels = self.detector.select(logits.float())
        kept = boxes_cxcywh_rel.gather(1, query.unsqueeze(-1).expand(-1, -1, 4))
        sizes = orig_target_sizes.repeat(1, 2).unsqueeze(1)
        return labels, cxcywh_to_xyxy(kept) * sizes.to(kept.dtype), scores


def graph(model: nn.Module, postprocess: bool = True) -> RawGraph:
    """The graph of a copy of a detector, in evaluation and with fused convolutions where it has some.

    Raises:
        ExportError: it is not of the DETR family, nor holds such a detector.
    """
    detector = getattr(model, "detector", model)  # what only pretrains holds the detector that it hands on
    if not (hasattr(detector, "forward_tensors") and hasattr(detector, "select")):
        raise ExportError(
            f"{type(model).__name__} cannot be made one graph of tensors; the detectors of the DETR family can: "
            "RT-DETR and RT-DETRv2, Deformable DETR, DETR, DETReg and what is built on them"
        )
    detector = copy.deepcopy(detector).eval()
    if hasattr(detector, "fuse"):
        detector.fuse()
    made = (DetectionGraph if postprocess else RawGraph)(detector)
    return made.eval().requires_grad_(False)


def example_inputs(made: RawGraph, size: tuple[int, int], batch: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    """Inputs of a graph for images of (height, width): random pixels, on the graph's device."""
    height, width = size
    pixels = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))
    sizes = torch.tensor([[width, height]]).repeat(batch, 1)
    device = made.mean.device
    return tuple(one.to(device) for one in (pixels, sizes)[: len(made.inputs)])
