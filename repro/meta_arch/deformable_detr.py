"""Deformable DETR (Zhu et al., ICLR 2021, arXiv 2010.04159) as a Detectron2 meta-architecture.

Differs from the published code in these points:

- all decoder layers are matched and all losses computed as one batch (``modeling/criterion.py``);
- in inference, images of equal size are batched together and never padded. With padding, what lies beside an image
  leaks into the backbone's features at its border, so that a result would depend on the other images of the batch;
- heads that all layers share are one module, ``class_embed.0`` and ``bbox_embed.0``, instead of one listed six times.

As published, boxes are not clipped to the image, and the best ``test_topk`` pairs of query and class are kept, so a
query may appear under several classes.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from jaxtyping import Bool, Float
from torch import Tensor, nn

from repro.layers.mlp import MLP
from repro.modeling.backbone import resnet
from repro.modeling.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from repro.modeling.criterion import Predictions, SetCriterion
from repro.modeling.matching import HungarianMatcher, Targets
from repro.modeling.necks import ChannelMapper
from repro.modeling.transformer import DeformableDecoder, DeformableEncoder, DeformableTransformer, LearnedQueries

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@META_ARCH_REGISTRY.register()
class DeformableDETR(nn.Module):
    """A detector: backbone, neck, transformer, and heads on every decoder layer.

    Args:
        backbone: images to a dictionary of feature maps.
        neck: those maps to a list of levels with the transformer's channels.
        transformer: encode, start, decode.
        criterion: losses of predictions against objects.
        num_classes: classes K.
        pixel_mean: RGB mean of pixels in 0…255.
        pixel_std: RGB standard deviation.
        aux_loss: train the layers before the last too.
        test_topk: detections kept for each image.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        transformer: DeformableTransformer,
        criterion: SetCriterion,
        num_classes: int,
        pixel_mean: Sequence[float] = IMAGENET_MEAN,
        pixel_std: Sequence[float] = IMAGENET_STD,
        aux_loss: bool = True,
        test_topk: int = 100,
    ) -> None:
        super().__init__()
        self.backbone, self.neck, self.transformer, self.criterion = backbone, neck, transformer, criterion
        self.num_classes, self.aux_loss, self.test_topk = num_classes, aux_loss, test_topk
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(3, 1, 1), persistent=False)
        dim = transformer.embed_dim
        heads = 1 if transformer.refine.shared_heads else transformer.decoder.num_layers
        self.class_embed = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(heads))
        self.bbox_embed = nn.ModuleList(MLP(dim, dim, 4, num_layers=3) for _ in range(heads))
        self._initialise_heads()

    def _initialise_heads(self) -> None:
        """Every class starts at probability 0.01; boxes start at their references, about a tenth of the image wide."""
        for head in self.class_embed:
            nn.init.constant_(head.bias, -math.log(99))
        for index, head in enumerate(self.bbox_embed):
            last = head.layers[-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            if index == 0:  # with refinement, later heads start from the box of the layer before
                nn.init.constant_(last.bias[2:], -2.0)

    @property
    def device(self) -> torch.device:
        """Where inputs are moved to."""
        return self.pixel_mean.device

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference detections, best first.

        Args:
            inputs: one dictionary an image: ``image`` (uint8, C×H×W, RGB); in training ``instances`` with ``gt_boxes``
                (xyxy in pixels of ``image``) and ``gt_classes``; in inference optionally the ``height`` and ``width``
                of the original image, in whose pixels boxes are returned.
        """
        if not self.training:
            return self._infer(inputs)
        predictions = self.forward_tensors(*self.preprocess([x["image"] for x in inputs]))
        losses, _ = self.criterion(predictions, self.targets([x["instances"] for x in inputs]))
        return losses

    def preprocess(self, images: Sequence[Tensor]) -> tuple[Float[Tensor, "B 3 H W"], Bool[Tensor, "B H W"] | None]:
        """Normalise, and pad with zeros at the right and bottom to one size.

        Returns:
            The batch, and a mask that is true at padding, or None when all images have the same size.
        """
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        images = [(image.to(self.device) - self.pixel_mean) / self.pixel_std for image in images]
        if all(image.shape[1:] == (height, width) for image in images):
            return torch.stack(images), None
        mask = torch.ones(len(images), height, width, dtype=torch.bool, device=self.device)
        for index, image in enumerate(images):
            mask[index, : image.shape[1], : image.shape[2]] = False
        padded = [F.pad(image, (0, width - image.shape[2], 0, height - image.shape[1])) for image in images]
        return torch.stack(padded), mask

    def forward_tensors(
        self, images: Float[Tensor, "B 3 H W"], padding_mask: Bool[Tensor, "B H W"] | None = None
    ) -> Predictions:
        """Predictions of every decoder layer for normalised images; training without ``aux_loss``, of the last one."""
        features = self.neck(self.backbone(images))
        memory = self.transformer.encode(features, padding_mask)
        decoded = self.transformer.decode(self.transformer.start(memory), memory, self.bbox_embed)
        states, boxes = decoded.states, decoded.boxes_cxcywh_rel
        if self.training and not self.aux_loss:
            states, boxes = states[-1:], boxes[-1:]
        return Predictions(self._classify(states), boxes, states)

    def _classify(self, states: Float[Tensor, "D B Q C"]) -> Float[Tensor, "D B Q K"]:
        if len(self.class_embed) == 1:
            return self.class_embed[0](states)
        heads = list(self.class_embed)[-len(states) :]
        return torch.stack([head(state) for head, state in zip(heads, states, strict=True)])

    def targets(self, instances: Sequence[Instances]) -> Targets:
        """Objects with boxes relative to their image; images may have none."""
        boxes = []
        for objects in instances:
            height, width = objects.image_size
            size = torch.tensor([width, height, width, height], dtype=torch.float32, device=self.device)
            boxes.append(xyxy_to_cxcywh(objects.gt_boxes.tensor.to(size) / size))
        return Targets.pad([objects.gt_classes.to(self.device) for objects in instances], boxes)

    @torch.no_grad()
    def _infer(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Instances]]:
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, entry in enumerate(inputs):
            by_size[tuple(entry["image"].shape[1:])].append(index)
        results: dict[int, Instances] = {}
        for indices in by_size.values():
            images, _ = self.preprocess([inputs[index]["image"] for index in indices])
            predictions = self.forward_tensors(images)
            logits, boxes = predictions.pred_logits, predictions.pred_boxes
            for index, image_logits, image_boxes in zip(indices, logits, boxes, strict=True):
                height, width = inputs[index]["image"].shape[1:]
                size = (inputs[index].get("height", height), inputs[index].get("width", width))
                results[index] = self.detections(image_logits, image_boxes, size)
        return [{"instances": results[index]} for index in range(len(inputs))]

    def detections(
        self, logits: Float[Tensor, "Q K"], boxes_cxcywh_rel: Float[Tensor, "Q 4"], image_size: tuple[int, int]
    ) -> Instances:
        """The best pairs of query and class; boxes xyxy in pixels of an image of ``image_size`` (height, width)."""
        count = min(self.test_topk, logits.numel())
        scores, index = logits.float().sigmoid().flatten().topk(count)
        query, label = index // logits.shape[1], index % logits.shape[1]
        height, width = image_size
        scale = boxes_cxcywh_rel.new_tensor([width, height, width, height])
        result = Instances((height, width))
        result.pred_boxes = Boxes(cxcywh_to_xyxy(boxes_cxcywh_rel[query]) * scale)
        result.scores = scores
        result.pred_classes = label
        return result


def example(num_classes: int = 3) -> DeformableDETR:
    """The real thing, small: built in a second on a CPU."""
    dim, levels = 32, 3
    return DeformableDETR(
        backbone=resnet(depth=10, width=8, freeze_at=0),
        neck=ChannelMapper(["res3", "res4", "res5"], [16, 32, 64], out_channels=dim, num_levels=levels, num_groups=8),
        transformer=DeformableTransformer(
            encoder=DeformableEncoder(dim, num_layers=1, num_heads=4, num_levels=levels, num_points=2, ffn_dim=64),
            decoder=DeformableDecoder(dim, num_layers=2, num_heads=4, num_levels=levels, num_points=2, ffn_dim=64),
            queries=LearnedQueries(num_queries=20, embed_dim=dim),
        ),
        criterion=SetCriterion(HungarianMatcher()),
        num_classes=num_classes,
    )
