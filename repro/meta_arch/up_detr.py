"""UP-DETR's pretraining (Dai et al., CVPR 2021, arXiv 2011.09094, Section 3) around a DETR or a Deformable DETR.

Random patches of the image are the objects. Their features (the backbone's last map, averaged) are added to the
positions of the object queries, in groups that do not see each other, and the detector learns to find where the patches
were cut. A further head rebuilds the features of the patch that a query was matched to.

As in the published code: any query may be matched to any patch, not only its own group's; the features are rebuilt on
every decoder layer, as squared distance of normalised vectors, divided by the number of patches; queries lose their
patch with probability 0.1 in training. An image may have fewer patches than there are groups: the queries of the
others then get none.

The baseline around Deformable DETR, with which DETReg's paper compares (Tables 1 and 7), was never released; this is
our port of it. The patch is added to the position half of the query embedding, before reference points are predicted.

Checkpoints have the detector's own parameter names, so fine-tuning loads them after dropping ``class_embed``,
``patch2query`` and ``feature_align``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from jaxtyping import Bool, Float
from torch import Tensor, nn

from repro.layers.mlp import MLP
from repro.layers.transparent import make_transparent
from repro.modeling.criterion import Predictions, named_by_layer, number_of_objects
from repro.modeling.crop_features import check_crops, crop_features
from repro.modeling.matching import Matches

from . import detr
from .detr import DETR


@META_ARCH_REGISTRY.register()
class UPDETR(nn.Module):
    """A detector that looks for patches which its queries carry.

    Args:
        detector: a :class:`DETR` or one of its kind, with learned queries; trained on patches, answers inference. Its
            backbone also encodes the patches, without gradient; published: frozen.
        patch_feature: the backbone's map whose average is a patch's feature.
        num_groups: groups of queries, one a patch; divides the number of queries.
        query_dropout: probability that a query loses its patch in training.
        weight_feature: weight of the reconstruction loss.
    """

    def __init__(
        self,
        detector: DETR,
        patch_feature: str = "res5",
        num_groups: int = 10,
        query_dropout: float = 0.1,
        weight_feature: float = 1.0,
    ) -> None:
        super().__init__()
        queries = detector.transformer.queries.query_embed.num_embeddings
        if queries % num_groups:
            raise ValueError(f"{queries} queries cannot be split into {num_groups} groups of equal size")
        self.detector, self.patch_feature, self.num_groups = detector, patch_feature, num_groups
        self.query_dropout, self.weight_feature = query_dropout, weight_feature
        self.queries_per_group = queries // num_groups
        dim = detector.transformer.embed_dim
        channels = detector.backbone.output_shape()[patch_feature].channels
        self.patch2query = nn.Linear(channels, dim)
        self.feature_align = MLP(dim, dim, channels, num_layers=2)
        make_transparent(self, "detector")

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference the detector's answer, whose queries then carry no patches.

        Args:
            inputs: as for the detector. In training each also has ``crops`` (uint8, N×3×h×w, RGB), the patches of its N
                instances in their order, all of one size.

        Raises:
            ValueError: an image has another number of crops than of instances, or more than there are groups.
        """
        if not self.training:
            return self.detector(inputs)
        check_crops(inputs)
        detector, counts = self.detector, [len(x["crops"]) for x in inputs]
        if max(counts) > self.num_groups:
            raise ValueError(f"an image of the batch has {max(counts)} patches for {self.num_groups} groups of queries")
        images, mask = detector.preprocess([x["image"] for x in inputs])
        features = crop_features(
            detector.backbone, self.patch_feature, [x["crops"] for x in inputs], detector.normalise
        )
        memory = detector.transformer.encode(detector.neck(detector.backbone(images)), mask)
        queries = detector.transformer.start(memory, self.prompt(features, counts))
        predictions = detector.predict(queries, memory, self.group_mask())
        targets = detector.targets([x["instances"] for x in inputs])
        losses, matches = detector.criterion(predictions, targets)
        count = number_of_objects(targets, images.device)
        return losses | named_by_layer({"loss_feature": self.feature_loss(predictions, features, matches) / count})

    def prompt(self, features: Float[Tensor, "B T E"], counts: Sequence[int]) -> Float[Tensor, "B Q C"]:
        """What each query is told to look for: its group's patch, or nothing."""
        patches = self.patch2query(F.pad(features, (0, 0, 0, self.num_groups - features.shape[1])))
        there = torch.arange(self.num_groups) < torch.tensor(counts).unsqueeze(1)
        there = there.to(features.device).repeat_interleave(self.queries_per_group, dim=1)
        if self.training:
            there = there & (torch.rand(there.shape, device=there.device) >= self.query_dropout)
        prompt = patches.repeat_interleave(self.queries_per_group, dim=1)
        return prompt * there.unsqueeze(-1)

    def group_mask(self) -> Bool[Tensor, "Q Q"]:
        """True where two queries are of different groups."""
        group = torch.arange(self.num_groups, device=self.detector.device).repeat_interleave(self.queries_per_group)
        return group.unsqueeze(0) != group.unsqueeze(1)

    def feature_loss(
        self, predictions: Predictions, features: Float[Tensor, "B T E"], matches: Matches
    ) -> Float[Tensor, " D"]:
        """Squared distance of normalised features, summed over matched pairs, of each layer."""
        states = predictions.states
        found = states.gather(2, matches.query.unsqueeze(-1).expand(-1, -1, -1, states.shape[-1]))
        found = F.normalize(self.feature_align(found).to(features.dtype), dim=-1)
        distance = (found - F.normalize(features, dim=-1)).square().sum(-1)
        return self.weight_feature * torch.where(matches.matched, distance, distance.new_zeros(())).sum((1, 2))


def example(num_classes: int = 3) -> UPDETR:
    """The real thing, small: built in a second on a CPU."""
    return UPDETR(detector=detr.example(num_classes), num_groups=4)
