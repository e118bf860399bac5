"""Faster R-CNN on a share of the COCO labels: Xu et al. 2021, Table 2, "Supervised baseline (Ours)".

Expect 10.0, 20.92 and 26.94 AP with 1, 5 and 10 % of the labels.
"""

from repro.configs.scales import combine

from ..common.faster_rcnn_r50_fpn import model
from ..common.faster_rcnn_r50_fpn import scales as model_scales
from ..common.run import run
from ..common.run import scales as run_scales
from ..common.semi import labelled as data
from ..common.semi import scales as data_scales
from ..common.sgd import optimizer, train
from ..common.sgd import scales as optimizer_scales

init = {"encoder": {"into": {"backbone.bottom_up": []}}}

data.percent = 1  # columns of the table set this

# Ours: as many labelled images in a step as a Soft Teacher sees there.
scales = combine(
    run_scales,
    optimizer_scales,
    model_scales,
    data_scales,
    {
        "small": {"data.total_batch_size": 4, "train.iterations": 4000, "train.warmup_iterations": 100},
        "tiny": {"train.iterations": 600},
        "smoke": {"data.total_batch_size": 2, "train.iterations": 2},
    },
)
