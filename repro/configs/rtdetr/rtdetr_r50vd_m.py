"""RT-DETR-M* (v1) on ResNet-50-vd: Lv et al. 2024, Table 2, 51.3 AP on val2017; see `rtdetr_r18vd.py`."""

from repro.configs.scales import combine, without

from .rtdetr_r18vd import NORM_AND_BIAS
from .rtdetrv2_r50vd_m import data, init, model, optimizer, run, scales, train

model.transformer.version = 1
data.policy = "constant"
train.epochs = 72
train.amp = False
train.warmup_iterations = 0
optimizer.groups = {
    "backbone": dict(pattern=r"^backbone(?!.*norm)", lr=1e-5, weight_decay=1e-4),
    "norm and bias": dict(pattern=NORM_AND_BIAS, lr=1e-4, weight_decay=0.0),
}

scales = combine(
    without(scales, "optimizer.groups.norm.lr", "train.warmup_iterations"),
    {"small": {"optimizer.groups.norm and bias.lr": 5e-4}},
)
