"""DETReg's pretraining (Bar et al., CVPR 2022, arXiv 2106.04550, Section 3) around a DETR or a Deformable DETR.

Region proposals stand in for objects: the detector learns to find them (class and box losses), and a further head
learns to predict, from each matched query, the features that a frozen self-supervised network sees in the proposal's
crop.

As in the published code, and unlike the paper's text: ``f_emb`` has one hidden layer; the embedding loss is the *mean*
absolute error over matched pairs and channels, on the last decoder layer only; the target is the globally averaged
res3 map (stride 8), not a projection. The number of classes is the detector's: the paper has an objectness score, the
authors' weights 91 classes of which index 1 is used. The crops of all images are encoded in one call instead of one an
image.

Checkpoints have the detector's own parameter names (``backbone…``, not ``detector.backbone…``), so fine-tuning loads
them after dropping ``class_embed``, ``embedding_head`` and ``target_encoder``. The target encoder is in them, small as
it is (it ends at res3), because an interrupted pretraining must go on with the same targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from jaxtyping import Float
from torch import Tensor, nn

from repro.layers.mlp import MLP
from repro.layers.transparent import make_transparent
from repro.modeling.backbone import resnet
from repro.modeling.crop_features import check_crops, crop_features
from repro.modeling.matching import Matches

from . import deformable_detr
from .detr import DETR


@META_ARCH_REGISTRY.register()
class DETReg(nn.Module):
    """A detector that also predicts the embeddings of what it finds.

    Args:
        detector: a :class:`DETR` or one of its kind; trained on proposals, answers inference.
        target_encoder: crops to a dictionary of feature maps, such as ``resnet(50, out_features=["res3"])``; the map
            named ``target_feature`` is averaged over space. Frozen, always in evaluation mode.
        target_feature: see there; also sets the embedding's channels (512 for ResNet-50).
        weight_embedding: weight of the embedding loss, lambda_e.
    """

    def __init__(
        self,
        detector: DETR,
        target_encoder: nn.Module,
        target_feature: str = "res3",
        weight_embedding: float = 1.0,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.target_encoder = target_encoder.requires_grad_(False).eval()
        self.target_feature, self.weight_embedding = target_feature, weight_embedding
        dim = detector.transformer.embed_dim
        target_dim = target_encoder.output_shape()[target_feature].channels
        self.embedding_head = MLP(dim, dim, target_dim, num_layers=2)
        make_transparent(self, "detector")

    def train(self, mode: bool = True) -> DETReg:
        """Switch everything but the target encoder, whose targets must not depend on the batch."""
        super().train(mode)
        self.target_encoder.eval()
        return self

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference the detector's answer.

        Args:
            inputs: as for the detector. In training each also has ``crops`` (uint8, N×3×h×w, RGB), one for each of its
                N instances and in their order, all of one size.

        Raises:
            ValueError: an image has another number of crops than of instances.
        """
        if not self.training:
            return self.detector(inputs)
        check_crops(inputs)
        detector = self.detector
        predictions = detector.forward_tensors(*detector.preprocess([x["image"] for x in inputs]))
        losses, matches = detector.criterion(predictions, detector.targets([x["instances"] for x in inputs]))
        targets = self.encode_crops([x["crops"] for x in inputs])
        losses["loss_embedding"] = self.weight_embedding * self.embedding_loss(predictions.states[-1], targets, matches)
        return losses

    def encode_crops(self, crops: Sequence[Tensor]) -> Float[Tensor, "B T E"]:
        """Target embeddings, padded to the image with most crops."""
        return crop_features(self.target_encoder, self.target_feature, crops, self.detector.normalise)

    def embedding_loss(
        self, states: Float[Tensor, "B Q C"], targets: Float[Tensor, "B T E"], matches: Matches
    ) -> Float[Tensor, ""]:
        """Mean absolute error over the last layer's matched pairs; 0, but connected, when there are none."""
        query, matched = matches.query[-1], matches.matched[-1]
        found = states.gather(1, query.unsqueeze(-1).expand(-1, -1, states.shape[-1]))
        error = (self.embedding_head(found).to(targets.dtype) - targets).abs().mean(-1)
        return torch.where(matched, error, error.new_zeros(())).sum() / matched.sum().clamp(min=1)


def example(num_classes: int = 3) -> DETReg:
    """The real thing, small: built in a second on a CPU."""
    return DETReg(
        detector=deformable_detr.example(num_classes),
        target_encoder=resnet(depth=10, width=8, out_features=["res3"]),
    )
