"""RT-DETR (Zhao et al., CVPR 2024, arXiv 2304.08069) and RT-DETRv2 (Lv et al. 2024, arXiv 2407.17140).

One architecture: v2 lets the number of points differ from level to level, may read each at a single pixel (the
decoder's ``mode``), starts some layers from other initial weights and does not cut off what overflows half precision
(``version`` of the transformer). What sets v2's numbers apart is how it is trained, which is the recipe's business.

Differs from the published code in these points:

- rectangular images are right: positions (``modeling/hybrid_encoder.py``), and sampling in the mode
  ``discrete_per_axis``; sides need not be multiples of 32;
- images of a batch that differ in size are padded in training, and only AIFI and the convolutions see the padding;
  recipes resize all to one size, as published;
- the encoder's boxes are computed for the selected tokens only;
- a batch without any object gets two denoising queries of padding, whose losses count nothing: the graph is the same on
  all processes, whatever they see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from jaxtyping import Float
from torch import Tensor, nn

from repro.modeling.class_losses import VarifocalLoss
from repro.modeling.criterion import Predictions, SetCriterion, named_by_layer, number_of_objects
from repro.modeling.hybrid_encoder import HybridEncoder
from repro.modeling.matching import HungarianMatcher, Targets
from repro.modeling.presnet import PResNet
from repro.modeling.transformer import ContrastiveDenoising, DeformableDecoder, EncoderQueries, RTDETRTransformer
from repro.modeling.transformer.denoising import Denoising
from repro.modeling.transformer.memory import Memory
from repro.modeling.transformer.queries import Queries

from .deformable_detr import DeformableDETR


@META_ARCH_REGISTRY.register()
class RTDETR(DeformableDETR):
    """A :class:`DETR` of a hybrid encoder (its neck) and an :class:`RTDETRTransformer`, with denoising queries.

    Args:
        backbone: images to a dictionary of feature maps.
        neck: those to maps of ``transformer``'s ``in_channels``.
        transformer: encode, start, decode.
        criterion: losses of predictions against objects.
        denoising: makes further queries of the objects in training.
        num_classes: classes K.
        test_topk: detections kept for each image; published: as many as there are queries.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: HybridEncoder,
        transformer: RTDETRTransformer,
        criterion: SetCriterion,
        denoising: ContrastiveDenoising,
        num_classes: int,
        test_topk: int = 300,
    ) -> None:
        super().__init__(
            backbone,
            neck,
            transformer,
            criterion,
            num_classes,
            pixel_mean=(0.0, 0.0, 0.0),  # pixels in 0…1 and nothing else
            pixel_std=(255.0, 255.0, 255.0),
            test_topk=test_topk,
        )
        self.denoising = denoising
        self.denoising_class_embed = nn.Embedding(num_classes + 1, transformer.embed_dim, padding_idx=num_classes)

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference detections, best first. Inputs are those of :class:`DETR`."""
        if not self.training:
            return super().forward(inputs)
        targets = self.targets([x["instances"] for x in inputs])
        images, padding_mask = self.preprocess([x["image"] for x in inputs])
        memory = self.transformer.encode(self.neck(self.backbone(images)), padding_mask)
        noise = self.denoising(targets, self.num_classes)
        return self.losses(*self.denoise(self.transformer.start(memory), memory, noise), targets, noise)

    def denoise(self, queries: Queries, memory: Memory, noise: Denoising) -> tuple[Predictions, Predictions]:
        """Predictions for the denoising queries, and for the others: one more set, the encoder's, then the layers'."""
        first = noise.labels.shape[1]
        content = self.denoising_class_embed(noise.labels).to(queries.content.dtype)
        together = Queries(
            torch.cat([content, queries.content], dim=1),
            torch.cat([noise.boxes_cxcywh_rel.to(queries.reference.dtype), queries.reference], dim=1),
        )
        found = self.predict(together, memory, noise.attn_mask(queries.content.shape[1]))
        denoised = Predictions(*(values[:, :, :first] for values in found[:3]))
        logits, boxes, states = (values[:, :, first:] for values in found[:3])
        logits = torch.cat([queries.tokens.logits.unsqueeze(0).to(logits.dtype), logits])
        boxes = torch.cat([queries.tokens.boxes_cxcywh_rel.unsqueeze(0), boxes])
        return denoised, Predictions(logits, boxes, states)

    def losses(
        self, denoised: Predictions, predictions: Predictions, targets: Targets, noise: Denoising
    ) -> dict[str, Tensor]:
        """Weighted losses; of the encoder their names end in ``_enc``, of denoising queries in ``_dn`` or ``_dn_i``."""
        per_set, _ = self.criterion.of_sets(predictions.logits, predictions.boxes_cxcywh_rel, targets)
        losses = named_by_layer({name: values[1:] for name, values in per_set.items()})
        losses |= {f"{name}_enc": values[0] for name, values in per_set.items()}
        count = number_of_objects(targets, self.device) * noise.groups
        matches = noise.matches.repeated(len(denoised.logits))
        restored = self.criterion.of_matches(*denoised[:2], noise.targets, matches, count)
        weight = 1.0 if noise.objects else 0.0
        return losses | named_by_layer({f"{name}_dn": weight * values for name, values in restored.items()})

    def _classify(self, states: Float[Tensor, "D B Q C"]) -> Float[Tensor, "D B Q K"]:
        """Class logits of as many layers as ran."""
        return torch.stack([head(state) for head, state in zip(self.class_embed, states, strict=False)])

    def fuse(self) -> None:
        """Make the encoder's parallel convolutions one each, for deployment. There is no way back."""
        self.neck.fuse()


def example(num_classes: int = 3) -> RTDETR:
    """The real thing, small: built in a second on a CPU."""
    dim, levels = 32, 3
    return RTDETR(
        backbone=PResNet(depth=10, width=8),
        neck=HybridEncoder(["res3", "res4", "res5"], [16, 32, 64], dim, num_heads=4, ffn_dim=64, expansion=0.5),
        transformer=RTDETRTransformer(
            decoder=DeformableDecoder(
                dim, num_layers=2, num_heads=4, num_levels=levels, num_points=[3, 2, 1], ffn_dim=64, dropout=0.0
            ),
            queries=EncoderQueries(20, dim, num_classes),
            in_channels=dim,
        ),
        criterion=SetCriterion(HungarianMatcher(), weight_class=1.0, class_loss=VarifocalLoss()),
        denoising=ContrastiveDenoising(num_queries=10),
        num_classes=num_classes,
        test_topk=20,
    )
