"""RT-DETRv2-L: ResNet-50-vd, six decoder layers. Lv et al. 2024, Tables 1 and 2: expect 53.4 AP on val2017."""

from repro.configs.scales import combine, without

from .rtdetrv2_r50vd_m import data, init, model, optimizer, run, scales, train

model.neck.expansion = 1.0
model.transformer.eval_layers = None
train.epochs = 72
data.policies.released.late_epochs = 1

scales = without(scales, "model.transformer.eval_layers")
