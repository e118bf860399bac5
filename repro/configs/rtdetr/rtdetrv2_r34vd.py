"""RT-DETRv2-M: ResNet-34-vd, four decoder layers. Lv et al. 2024, Tables 1 and 2: expect 49.9 AP on val2017."""

from repro.configs.scales import combine, without

from ..common.rtdetr import MULTI_SCALE
from .rtdetrv2_r18vd import data, init, model, optimizer, run, scales, train

model.backbone.depth = 34
model.transformer.decoder.num_layers = 4
data.policies.released.sizes = MULTI_SCALE
optimizer.groups = {  # Table 1: 5e-5 for the backbone
    "backbone": dict(pattern=r"^backbone(?!.*norm)", lr=5e-5, weight_decay=1e-4),
    "backbone norm": dict(pattern=r"^backbone.*norm", lr=5e-5, weight_decay=0.0),
    "norm and bias": dict(pattern=r"^(?!backbone).*(norm|bias)", lr=1e-4, weight_decay=0.0),
}

scales = combine(
    without(scales, "optimizer.groups.norm.lr"),
    {
        "small": {
            "model.transformer.decoder.num_layers": 3,
            "data.policies.released.sizes": [64, 96, 96, 128],
            "optimizer.groups.backbone.lr": 5e-4,
            "optimizer.groups.backbone norm.lr": 5e-4,
            "optimizer.groups.norm and bias.lr": 5e-4,
        },
        "tiny": {"data.policies.released.sizes": [32, 64, 64, 96]},
    },
)
