"""RT-DETR-X (v1) on ResNet-101-vd: Lv et al. 2024, Table 2, 54.3 AP on val2017; see `rtdetr_r18vd.py`."""

from repro.configs.scales import combine, without

from .rtdetr_r50vd import data, init, model, optimizer, run, scales, train

model.backbone.depth = 101
model.neck.embed_dim = 384
model.neck.ffn_dim = 2048
model.transformer.in_channels = 384
optimizer.groups = {
    "backbone": dict(pattern=r"^backbone(?!.*norm)", lr=1e-6, weight_decay=1e-4),
    "norm": dict(  # this size decays biases
        pattern=r"^(?!backbone|neck\.input_proj|transformer\.queries\.enc_output).*norm", lr=1e-4, weight_decay=0.0
    ),
}

scales = combine(
    without(scales, "optimizer.groups.norm and bias.lr"),
    {
        "small": {
            "model.neck.embed_dim": 96,
            "model.neck.ffn_dim": 256,
            "model.transformer.in_channels": 96,
            "optimizer.groups.norm.lr": 5e-4,
        }
    },
)
