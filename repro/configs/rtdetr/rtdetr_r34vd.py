"""RT-DETR-M (v1) on ResNet-34-vd: Lv et al. 2024, Table 2, 48.9 AP on val2017; see `rtdetr_r18vd.py`."""

from repro.configs.scales import without

from .rtdetr_r18vd import NORM_AND_BIAS
from .rtdetrv2_r34vd import data, init, model, optimizer, run, scales, train

model.transformer.version = 1
data.policy = "constant"
train.epochs = 72
train.amp = False
train.warmup_iterations = 0
optimizer.groups = {
    "backbone": dict(pattern=r"^backbone(?!.*norm)", lr=1e-5, weight_decay=1e-4),
    "backbone norm": dict(pattern=r"^backbone.*norm", lr=1e-5, weight_decay=0.0),
    "norm and bias": dict(pattern=NORM_AND_BIAS, lr=1e-4, weight_decay=0.0),
}

scales = without(scales, "train.warmup_iterations")
