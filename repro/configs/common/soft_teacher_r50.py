"""Soft Teacher on a Faster R-CNN (Xu et al. 2021); values of the released code, which made the released numbers.

The paper's own equations are `PerImageLosses` and ``unit="mean_side"``; its supplement has `UniformNoise`.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, moved
from repro.layers.ema import Rising
from repro.meta_arch.semi.two_stage import TwoStage
from repro.meta_arch.soft_teacher import SoftTeacher
from repro.modeling.box_jitter import BoxJitter, NormalNoise
from repro.modeling.pseudo_boxes import ByVariance
from repro.modeling.soft_weights import PooledLosses

from .faster_rcnn_r50_fpn import model as detector
from .faster_rcnn_r50_fpn import scales as detector_scales

by_variance = L(ByVariance)(
    threshold=0.02,
    jitter=L(BoxJitter)(num_jitters=10, noise=L(NormalNoise)(scale=0.06), unit="refined_sides"),
)
model = L(SoftTeacher)(
    detector=detector,
    method=L(TwoStage)(
        score_threshold=0.5,
        rpn_threshold=0.9,
        cls_threshold=0.9,
        regression=by_variance,
        indicator="BG-T",
        losses=L(PooledLosses)(),
    ),
    momentum=L(Rising)(final=0.999, warmup=0),
    unsupervised_weight=4.0,  # 2 with all labels
    burn_in=0,
    buffers="keep",  # those of the backbone are frozen, and there are no others
    inference_on="student",  # as the released code tests; evaluations say who answers
    teacher_mode="eval",
)

# Ours: a run of a few thousand steps has no time for an average over a thousand, nor to recover from a teacher that
# finds nothing.
scales = combine(
    moved(detector_scales, "model", "model.detector"),
    {
        "small": {"model.momentum.final": 0.99, "model.burn_in": 1000},
        "tiny": {"model.burn_in": 300},
        "smoke": {"model.burn_in": 0},
    },
)
