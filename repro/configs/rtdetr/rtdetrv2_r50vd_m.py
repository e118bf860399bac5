"""RT-DETRv2-M*: ResNet-50-vd, a narrow encoder, and six decoder layers, of which three run in inference.

Lv et al. 2024, Table 2: expect 51.9 AP on val2017. Table 1 leaves this size out; rates are those of L.
"""

from repro.configs.scales import combine, without

from .rtdetrv2_r34vd import data, init, model, optimizer, run, scales, train

model.backbone.depth = 50
model.backbone.freeze_at = 0  # the stem
model.backbone.freeze_norm = True
model.neck.in_channels = [512, 1024, 2048]
model.transformer.decoder.num_layers = 6
model.transformer.eval_layers = 3
optimizer.groups = {
    "backbone": dict(pattern=r"^backbone(?!.*norm)", lr=1e-5, weight_decay=1e-4),
    "norm": dict(pattern=r"^(?!backbone).*norm", lr=1e-4, weight_decay=0.0),
}
train.epochs = 84  # "7x" in the released configuration

scales = combine(
    without(scales, "optimizer.groups.backbone norm.lr", "optimizer.groups.norm and bias.lr"),
    {
        "small": {
            "model.backbone.width": 8,
            "model.neck.in_channels": [64, 128, 256],
            "model.transformer.decoder.num_layers": 4,
            "model.transformer.eval_layers": 2,
            "optimizer.groups.norm.lr": 5e-4,
        }
    },
)
