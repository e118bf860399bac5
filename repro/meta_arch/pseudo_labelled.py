"""A detector that learns from labelled images and from images with offline pseudo boxes, each kind with its own weight.

Multi-stage training as STAC does it (Sohn et al. 2020, arXiv 2005.04757, Eq. 1), and "Multi-Stage" of Xu et al. 2021,
Table 5: boxes that another detector left beforehand are ground truth like any other, except for their weight. Losses
are means over the images of a kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from . import faster_rcnn


@META_ARCH_REGISTRY.register()
class PseudoLabelled(nn.Module):
    """Any detector, told which samples are labelled by people and which by a detector.

    Args:
        detector: does all the work, in training and in inference.
        labelled_weight: of its losses of labelled images.
        pseudo_weight: of its losses of images with pseudo boxes.
    """

    def __init__(self, detector: nn.Module, labelled_weight: float = 1.0, pseudo_weight: float = 1.0) -> None:
        super().__init__()
        self.detector = detector
        self.labelled_weight, self.pseudo_weight = labelled_weight, pseudo_weight

    def forward(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Losses in training; in inference what the detector answers.

        Args:
            inputs: as the detector takes them; in training those with pseudo boxes have ``pseudo``, in any order.
                On several processes, either kind is in every batch or in none of them: all must have the same losses.

        Returns:
            In training the detector's losses of labelled images under their own names, and those of the others with
            ``_unsup`` behind them.
        """
        if not self.training:
            return self.detector(inputs)
        labelled = [sample for sample in inputs if not sample.get("pseudo", False)]
        pseudo = [sample for sample in inputs if sample.get("pseudo", False)]
        losses = {}
        for samples, weight, end in ((labelled, self.labelled_weight, ""), (pseudo, self.pseudo_weight, "_unsup")):
            if samples:
                losses |= {f"{name}{end}": weight * value for name, value in self.detector(samples).items()}
        return losses


def example(num_classes: int = 3) -> PseudoLabelled:
    """The real thing, small: built in a second on a CPU."""
    return PseudoLabelled(faster_rcnn.example(num_classes), labelled_weight=0.5)
