"""RT-DETR-L (v1) on ResNet-50-vd: Lv et al. 2024, Table 2, 53.1 AP on val2017; see `rtdetr_r18vd.py`."""

from repro.configs.scales import without

from .rtdetr_r50vd_m import data, init, model, optimizer, run, scales, train

model.neck.expansion = 1.0
model.transformer.eval_layers = None

scales = without(scales, "model.transformer.eval_layers")
