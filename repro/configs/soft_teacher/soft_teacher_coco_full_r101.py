"""Soft Teacher on all of COCO with a ResNet-101, 1080k steps: Xu et al. 2021, Table 4. Expect 46.8 AP."""

from repro.configs.scales import combine

from .soft_teacher_coco_full import data, init, model, optimizer, run, train
from .soft_teacher_coco_full import scales as r50_scales

model.detector.backbone.bottom_up.depth = 101
train.epochs = 1080  # in units of 1,000 steps
train.lr_drops = [720, 960]
train.iterations = 1_080_000

scales = combine(
    r50_scales,
    {
        "small": {"model.detector.backbone.bottom_up.depth": 34, "train.iterations": 2100},
        "tiny": {"train.iterations": 900},
    },
)
