"""Fine-tuning on a share of COCO's labels after `pretrain_coco_timm.py`, or from timm's weights alone; in no table."""

from repro.configs.scales import combine, without

from ..common.timm_backbone import backbone, small, small_channels
from .finetune_coco_percent import data, init, model, optimizer, run, train
from .finetune_coco_percent import scales as finetune_scales

model.backbone = backbone

resnets = [f"model.backbone.{key}" for key in ("depth", "width", "freeze_at")]
scales = combine(
    without(finetune_scales, *resnets),
    {
        "small": {
            "model.backbone.name": small,
            "model.backbone.freeze": [],
            "model.neck.in_channels": small_channels,
        }
    },
)
