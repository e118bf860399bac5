"""Soft Teacher on a share of the COCO labels, the other images unlabelled: Xu et al. 2021, Sec. 4.1, Table 2.

Expect 20.46, 30.74 and 34.04 AP with 1, 5 and 10 % of the labels. Values are those of the released code, whose weights
score 21.62, 30.42 and 33.78 by its README.
"""

from repro.configs.scales import combine

from ..common.run import run
from ..common.run import scales as run_scales
from ..common.semi import semi as data
from ..common.semi import semi_scales
from ..common.sgd import optimizer, train
from ..common.sgd import scales as optimizer_scales
from ..common.soft_teacher_r50 import model
from ..common.soft_teacher_r50 import scales as model_scales

init = {"encoder": {"into": {"student.backbone.bottom_up": []}}}  # the teacher follows before the first step

data.percent = 1  # columns of the table set this

# Ours: few steps, in which unlabelled images would teach nothing but background until the teacher is sure of something;
# so labels teach alone at first, there are as many of either kind, and the unlabelled ones weigh less. A detector as
# small as that of `small` is right in two of three boxes from 0.7 on, of which it finds half as many again as above
# 0.9, and its boxes are less steady. Chosen by fold 11, which no table measures.
scales = combine(
    run_scales,
    optimizer_scales,
    model_scales,
    semi_scales,
    {
        "small": {
            "data.ratio": [1, 1],
            "data.share_size": 4,
            "data.total_batch_size": 8,
            "model.unsupervised_weight": 1.0,
            "model.momentum.final": 0.998,
            "model.burn_in": 2000,
            "?model.method.rpn_threshold": 0.7,
            "?model.method.cls_threshold": 0.7,
            "?model.method.regression.threshold": 0.05,
            "train.iterations": 4000,
            "train.warmup_iterations": 100,
        },
        "tiny": {
            "model.momentum.final": 0.99,
            "model.burn_in": 380,
            "?model.method.rpn_threshold": 0.9,
            "?model.method.cls_threshold": 0.9,
            "?model.method.regression.threshold": 0.02,
            "train.iterations": 600,
        },
        "smoke": {"data.total_batch_size": 4, "model.burn_in": 0, "train.iterations": 2},
    },
)
