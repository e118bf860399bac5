"""Soft Teacher with all labels of COCO train2017, and unlabeled2017 beside it: Xu et al. 2021, Sec. 4.1.

Expect 44.05 AP after these 720k steps, as the authors' README has it; `soft_teacher_coco_full_1440k.py` is for the 44.5
in print. Schedule, batch and weight are those of the released code.
"""

from repro.configs.scales import combine

from ..common.semi import full_scales
from .soft_teacher_coco_percent import data, init, model, optimizer, run, train
from .soft_teacher_coco_percent import scales as percent_scales

data.percent = 100
data.unlabelled.dataset = "coco_2017_unlabeled"
data.ratio = [1, 1]
data.share_size = 8
data.total_batch_size = 64
model.unsupervised_weight = 2.0
train.epochs = 720  # in units of 1,000 steps
train.lr_drops = [480, 640]
train.iterations = 720_000

scales = combine(percent_scales, full_scales)
