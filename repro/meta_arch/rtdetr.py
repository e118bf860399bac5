"""RT-DETR (Zhao et al., CVPR 2024, arXiv 2304.08069) and RT-DETRv2 (Lv et al. 2024, arXiv 2407.17140).

One architecture: v2 lets the number of points differ from level to level, may read each at a single pixel
(``mode="discrete"``), and starts some layers from other initial weights (``version``). What sets v2's numbers apart is
how it is trained, which is the recipe's business.

Differs from the published code in these points:

- rectangular images are right: positions (``modeling/hybrid_encoder.py``), and sampling in the mode
  ``discrete_per_axis``; sides need not be multiples of 32;
- images of a batch that differ in size are padded with zeros to one canvas in training, and boxes are relative to the
  canvas; in inference they are batched by size and never padded. Recipes resize all to one size, as published;
- boxes of the encoder are computed for the selected tokens only;
- a batch without any object gets two denoising queries of padding, whose losses are multiplied by zero.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from jaxtyping import Float
from torch import Tensor, nn

from repro.layers.conv_norm import ConvNorm
from repro.layers.mlp import MLP
from repro.modeling.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from repro.modeling.criterion import Predictions, SetCriterion
from repro.modeling.hybrid_encoder import HybridEncoder
from repro.modeling.matching import HungarianMatcher, Targets
from repro.modeling.presnet import PResNet
from repro.modeling.transformer import (
    BoxPosition,
    ContrastiveDenoising,
    DeformableDecoder,
    EncoderQueries,
    LookForwardTwice,
)
from repro.modeling.transformer.denoising import Denoising
from repro.modeling.transformer.memory import flatten
from repro.modeling.transformer.queries import Queries
from repro.modeling.transformer.selection import Selected


class Outputs(NamedTuple):
    """What the detector makes of a batch of images."""

    decoded: Predictions
    """Of the decoder's layers, for the selected queries."""
    selected: Selected
    """Of the encoder."""
    denoised: Predictions | None
    """Of the decoder's layers, for the denoising queries; None without."""


@META_ARCH_REGISTRY.register()
class RTDETR(nn.Module):
    """A detector: backbone, hybrid encoder, query selection, decoder, and heads on each of its layers.

    Args:
        backbone: images in 0…1 to a dictionary of feature maps.
        encoder: those to maps of ``encoder.embed_dim`` channels.
        decoder: runs the queries through its layers.
        denoising: makes further queries of the objects in training.
        criterion: losses of predictions against objects.
        num_classes: classes K.
        num_queries: queries Q, and detections kept for each image.
        eval_layers: decoder layers that run in inference; None runs all. RT-DETR-M* trains six and runs three.
        version: 1 or 2: which published code's initial weights to start from.
    """

    def __init__(
        self,
        backbone: nn.Module,
        encoder: HybridEncoder,
        decoder: DeformableDecoder,
        denoising: ContrastiveDenoising,
        criterion: SetCriterion,
        num_classes: int,
        num_queries: int = 300,
        eval_layers: int | None = None,
        version: int = 2,
    ) -> None:
        super().__init__()
        self.backbone, self.encoder, self.decoder = backbone, encoder, decoder
        self.denoising, self.criterion = denoising, criterion
        self.num_classes, self.num_queries, self.eval_layers = num_classes, num_queries, eval_layers
        dim, layers = decoder.embed_dim, decoder.num_layers
        self.input_proj = nn.ModuleList(ConvNorm(encoder.embed_dim, dim, 1) for _ in range(decoder.num_levels))
        self.queries = EncoderQueries(num_queries, dim, num_classes)
        self.query_position, self.refine = BoxPosition(dim), LookForwardTwice()
        self.denoising_class_embed = nn.Embedding(num_classes + 1, dim, padding_idx=num_classes)
        self.class_embed = nn.ModuleList(nn.Linear(dim, num_classes) for _ in range(layers))
        self.bbox_embed = nn.ModuleList(MLP(dim, dim, 4, num_layers=3) for _ in range(layers))
        self._initialise(version)

    def _initialise(self, version: int) -> None:
        """Every class starts at probability 0.01, boxes at their references; attention and v1 as the framework does."""
        for head in self.class_embed:
            nn.init.constant_(head.bias, -math.log(99))
        for head in self.bbox_embed:
            nn.init.zeros_(head.layers[-1].weight)
            nn.init.zeros_(head.layers[-1].bias)
        for layer in self.decoder.layers:
            layer.self_attn.out_proj.reset_parameters()
            nn.init.zeros_(layer.self_attn.out_proj.bias)
            if version == 1:
                layer.linear1.reset_parameters()
                layer.linear2.reset_parameters()
        if version == 2:
            for projection in self.input_proj:
                nn.init.xavier_uniform_(projection.conv.weight)

    @property
    def device(self) -> torch.device:
        """Where inputs are moved to."""
        return self.denoising_class_embed.weight.device

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference detections, best first.

        Args:
            inputs: one dictionary an image: ``image`` (uint8, C×H×W, RGB); in training ``instances`` with ``gt_boxes``
                (xyxy in pixels of ``image``) and ``gt_classes``; in inference optionally the ``height`` and ``width``
                of the original image, in whose pixels boxes are returned.
        """
        if not self.training:
            return self._infer(inputs)
        images = self.preprocess([x["image"] for x in inputs])
        targets = self.targets([x["instances"] for x in inputs], images.shape[2:])
        noise = self.denoising(targets, self.num_classes)
        return self.losses(self.forward_tensors(images, noise), targets, noise)

    def preprocess(self, images: Sequence[Tensor]) -> Float[Tensor, "B 3 H W"]:
        """Pixels in 0…1; images of different size are padded with zeros at the right and bottom to one."""
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        dtype = self.denoising_class_embed.weight.dtype
        return torch.stack(
            [
                F.pad(image.to(self.device).to(dtype) / 255, (0, width - image.shape[2], 0, height - image.shape[1]))
                for image in images
            ]
        )

    def targets(self, instances: Sequence[Instances], canvas: Sequence[int]) -> Targets:
        """Objects with boxes relative to the canvas (height, width); images may have none."""
        height, width = canvas
        size = torch.tensor([width, height, width, height], dtype=torch.float32, device=self.device)
        boxes = [xyxy_to_cxcywh(objects.gt_boxes.tensor.to(size) / size) for objects in instances]
        return Targets.pad([objects.gt_classes.to(self.device) for objects in instances], boxes)

    def forward_tensors(self, images: Float[Tensor, "B 3 H W"], noise: Denoising | None = None) -> Outputs:
        """Predictions for images in 0…1; ``noise`` adds denoising queries."""
        maps = self.encoder(self.backbone(images))
        memory = flatten([project(x) for project, x in zip(self.input_proj, maps, strict=True)], None)
        selected = self.queries(memory)
        queries, mask, extra = selected.queries, None, 0
        if noise is not None:
            mask, extra = noise.attn_mask(queries.content.shape[1]), noise.labels.shape[1]
            queries = Queries(
                torch.cat([self.denoising_class_embed(noise.labels).to(queries.content.dtype), queries.content], dim=1),
                torch.cat([noise.boxes_cxcywh_rel.to(queries.reference.dtype), queries.reference], dim=1),
            )
        depth = None if self.training else self.eval_layers
        states, boxes = self.decoder(
            queries, memory, self.bbox_embed, self.query_position, self.refine, mask, depth
        )
        heads = list(self.class_embed)[:depth]
        logits = torch.stack([head(state) for head, state in zip(heads, states, strict=True)])
        everything = Predictions(logits, boxes, states)
        if noise is None:
            return Outputs(everything, selected, None)
        denoised = Predictions(*(values[:, :, :extra] for values in everything))
        return Outputs(Predictions(*(values[:, :, extra:] for values in everything)), selected, denoised)

    def losses(self, outputs: Outputs, targets: Targets, noise: Denoising) -> dict[str, Tensor]:
        """Weighted losses of the decoder's layers, of the encoder (``_enc``) and of the denoising queries (``_dn``)."""
        raise NotImplementedError

    @torch.no_grad()
    def _infer(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Instances]]:
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, entry in enumerate(inputs):
            by_size[tuple(entry["image"].shape[1:])].append(index)
        results: dict[int, Instances] = {}
        for indices in by_size.values():
            predictions = self.forward_tensors(self.preprocess([inputs[index]["image"] for index in indices])).decoded
            logits, boxes = predictions.pred_logits, predictions.pred_boxes
            for index, image_logits, image_boxes in zip(indices, logits, boxes, strict=True):
                height, width = inputs[index]["image"].shape[1:]
                size = (inputs[index].get("height", height), inputs[index].get("width", width))
                results[index] = self.detections(image_logits, image_boxes, size)
        return [{"instances": results[index]} for index in range(len(inputs))]

    def fuse(self) -> None:
        """Make the encoder's parallel convolutions one each, for deployment."""
        self.encoder.fuse()
