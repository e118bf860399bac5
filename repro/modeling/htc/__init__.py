"""Hybrid Task Cascade (Chen et al., CVPR 2019, arXiv 1901.07518): the heads behind a feature pyramid.

Tensors in, tensors out, but for `HTCROIHeads`, which has the interface of Detectron2's ROI heads. Values that the paper
does not state (pooling sizes, initial weights, normalisation of losses) are those of mmdetection 2.16, in which its
authors released it.
"""

from .box_heads import BoxHeads
from .mask_heads import MaskHeads
from .regions import RegionFeatures
from .roi_heads import HTCROIHeads
from .sampling import StageSampler
from .semantic import SemanticHead

__all__ = ["BoxHeads", "HTCROIHeads", "MaskHeads", "RegionFeatures", "SemanticHead", "StageSampler"]
