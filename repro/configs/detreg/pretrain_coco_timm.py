"""DETReg's pretraining on COCO with one of timm's networks as backbone and target encoder; ours, in no table."""

from repro.configs.scales import combine, without

from ..common.timm_backbone import backbone, small, small_channels, target_encoder
from .pretrain_coco import data, init, model, optimizer, run, train
from .pretrain_coco import scales as pretrain_scales

model.detector.backbone = backbone
model.target_encoder = target_encoder
init["encoder"]["into"]["target_encoder"] = ["layer3", "layer4"]  # timm's names of what it lacks

resnets = [f"model.{part}.{key}" for part in ("detector.backbone", "target_encoder") for key in ("depth", "width")]
scales = combine(
    without(pretrain_scales, *resnets, "model.detector.backbone.freeze_at"),
    {
        "small": {
            "model.detector.backbone.name": small,
            "model.detector.backbone.freeze": [],
            "model.target_encoder.name": small,
            "model.detector.neck.in_channels": small_channels,
        }
    },
)
