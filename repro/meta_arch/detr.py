"""DETR (Carion et al., ECCV 2020, arXiv 2005.12872) as a Detectron2 meta-architecture, and what its successors share.

The class is also the frame of the detectors that came after it: backbone, neck, a transformer of three calls (encode,
start, decode), heads on every decoder layer, a set criterion. They change how heads start (`initialise_heads`), what a
class head tells apart (`num_logits`) and which detections are kept (`select`).

Differs from the published code in these points:

- all decoder layers are matched and all losses computed as one batch (``modeling/criterion.py``);
- in inference, images of equal size are batched together and never padded. With padding, what lies beside an image
  leaks into the backbone's features at its border, so that a result would depend on the other images of the batch;
- heads that all layers share are lists of one, ``class_embed.0`` and ``bbox_embed.0``, as where each layer has its own.

As published, boxes are not clipped to the image, and every query answers with its best class, whatever its score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from repro.layers.mlp import MLP
from repro.modeling.backbone import resnet
from repro.modeling.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from repro.modeling.class_costs import SoftmaxCost
from repro.modeling.class_losses import CrossEntropyLoss
from repro.modeling.contract import by_size
from repro.modeling.criterion import Predictions, SetCriterion
from repro.modeling.matching import HungarianMatcher, Targets
from repro.modeling.necks import SingleMap
from repro.modeling.transformer import DETRDecoder, DETREncoder, DETRTransformer, LearnedSlots
from repro.modeling.transformer.memory import Memory
from repro.modeling.transformer.queries import Queries

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@META_ARCH_REGISTRY.register()
class DETR(nn.Module):
    """A detector: backbone, neck, transformer, and heads on every decoder layer.

    Args:
        backbone: images to a dictionary of feature maps.
        neck: those maps to a list of levels with the transformer's channels.
        transformer: encode, start, decode.
        criterion: losses of predictions against objects.
        num_classes: classes K, "no object" not among them.
        pixel_mean: RGB mean of pixels in 0…255.
        pixel_std: RGB standard deviation.
        aux_loss: train the layers before the last too.
        test_topk: most detections of an image.

    Attributes:
        only_class: in inference, rank every query by the score of this class and leave the others out; None, as the
            detector was published (`select`). What was pretrained on one class has an objectness, and nothing else.
    """

    only_class: int | None = None

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module,
        transformer: nn.Module,
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
        dim, heads = transformer.embed_dim, range(transformer.num_heads)
        self.class_embed = nn.ModuleList(nn.Linear(dim, self.num_logits) for _ in heads)
        self.bbox_embed = nn.ModuleList(MLP(dim, dim, 4, num_layers=3) for _ in heads)
        self.initialise_heads()

    @property
    def num_logits(self) -> int:
        """Outputs of a class head: a softmax over the classes and, last, "no object"."""
        return self.num_classes + 1

    def initialise_heads(self) -> None:
        """Heads start as linear layers do."""

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
            with torch.no_grad():
                return by_size(self._infer, inputs)
        predictions = self.forward_tensors(*self.preprocess([x["image"] for x in inputs]))
        losses, _ = self.criterion(predictions, self.targets([x["instances"] for x in inputs]))
        return losses

    def normalise(self, images: Tensor) -> Float[Tensor, "*batch 3 H W"]:
        """RGB in 0…255 to what the backbone was trained with."""
        return (images.to(self.device) - self.pixel_mean) / self.pixel_std

    def preprocess(self, images: Sequence[Tensor]) -> tuple[Float[Tensor, "B 3 H W"], Bool[Tensor, "B H W"] | None]:
        """Normalise, and pad with zeros at the right and bottom to one size.

        Returns:
            The batch, and a mask that is true at padding, or None when all images have the same size.
        """
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        images = [self.normalise(image) for image in images]
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
        """Predictions of every decoder layer; in training without ``aux_loss``, of the last one."""
        memory = self.transformer.encode(self.neck(self.backbone(images)), padding_mask)
        return self.predict(self.transformer.start(memory), memory)

    def predict(self, queries: Queries, memory: Memory, attn_mask: Bool[Tensor, "Q Q"] | None = None) -> Predictions:
        """What becomes of queries in an encoded image; ``attn_mask`` is true where one may not see another."""
        decoded = self.transformer.decode(queries, memory, self.bbox_embed, attn_mask)
        states, boxes = decoded.states, decoded.boxes_cxcywh_rel
        if self.training and not self.aux_loss:
            states, boxes = states[-1:], boxes[-1:]
        return Predictions(self._classify(states), boxes, states, queries.tokens)

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

    def _infer(self, inputs: Sequence[dict[str, Any]]) -> list[dict[str, Instances]]:
        """Detections in images of one size."""
        images, _ = self.preprocess([entry["image"] for entry in inputs])
        predictions = self.forward_tensors(images)
        results = []
        for entry, logits, boxes in zip(inputs, predictions.pred_logits, predictions.pred_boxes, strict=True):
            height, width = entry["image"].shape[1:]
            size = (entry.get("height", height), entry.get("width", width))
            results.append({"instances": self.detections(logits, boxes, size)})
        return results

    def detections(
        self, logits: Float[Tensor, "Q K"], boxes_cxcywh_rel: Float[Tensor, "Q 4"], image_size: tuple[int, int]
    ) -> Instances:
        """What :meth:`select` keeps; boxes xyxy in pixels of an image of ``image_size`` (height, width)."""
        scores, query, label = (self.select if self.only_class is None else self.select_one)(logits.float())
        height, width = image_size
        scale = boxes_cxcywh_rel.new_tensor([width, height, width, height])
        result = Instances((height, width))
        result.pred_boxes = Boxes(cxcywh_to_xyxy(boxes_cxcywh_rel[query]) * scale)
        result.scores = scores
        result.pred_classes = label
        return result

    def select(
        self, logits: Float[Tensor, "*batch Q K"]
    ) -> tuple[Float[Tensor, "*batch N"], Int64[Tensor, "*batch N"], Int64[Tensor, "*batch N"]]:
        """Scores, queries and classes of an image's detections, best first: each query with its best class."""
        best, label = logits.softmax(-1)[..., :-1].max(-1)
        scores, query = best.topk(min(self.test_topk, best.shape[-1]))
        return scores, query, label.gather(-1, query)

    def select_one(
        self, logits: Float[Tensor, "Q K"]
    ) -> tuple[Float[Tensor, " N"], Int64[Tensor, " N"], Int64[Tensor, " N"]]:
        """Scores, queries and classes like :meth:`select`: the queries by the logit of ``only_class``.

        Of DETR's softmax too the logit counts, as where DETReg's authors score; another class may be likelier.
        """
        best, query = logits[:, self.only_class].topk(min(self.test_topk, len(logits)))
        return best.sigmoid(), query, torch.full_like(query, self.only_class)


def example(num_classes: int = 3) -> DETR:
    """The real thing, small: built in a second on a CPU."""
    dim = 32
    return DETR(
        backbone=resnet(depth=10, width=8, freeze_at=0, out_features=["res5"]),
        neck=SingleMap("res5", 64, dim),
        transformer=DETRTransformer(
            encoder=DETREncoder(dim, num_layers=1, num_heads=4, ffn_dim=64),
            decoder=DETRDecoder(dim, num_layers=2, num_heads=4, ffn_dim=64),
            queries=LearnedSlots(num_queries=20, embed_dim=dim),
        ),
        criterion=SetCriterion(
            HungarianMatcher(cost_class=1.0, class_cost=SoftmaxCost()),
            weight_class=1.0,
            class_loss=CrossEntropyLoss(no_object_weight=0.1),
        ),
        num_classes=num_classes,
    )
