"""Soft Teacher on all of COCO for twice as long: what the printed 44.5 AP is of, by the authors' README.

Xu et al. 2021, Tables 3 and 4.
"""

from repro.configs.scales import combine

from .soft_teacher_coco_full import data, init, model, optimizer, run, train
from .soft_teacher_coco_full import scales as short_scales

train.epochs = 1440  # in units of 1,000 steps
train.lr_drops = [960, 1280]
train.iterations = 1_440_000

scales = combine(short_scales, {"small": {"train.iterations": 2800}, "tiny": {"train.iterations": 1200}})
