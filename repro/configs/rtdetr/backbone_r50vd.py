"""ResNet-50-vd on ImageNet (distilled without labels, "ssld", by PaddleClas); see `backbone_r18vd.py`."""

from repro.configs.scales import combine

from .backbone_r18vd import data, encoder, model, optimizer, run, scales, train

encoder.url = (
    "https://github.com/lyuwenyu/storage/releases/download/v0.1/ResNet50_vd_ssld_v2_pretrained_from_paddle.pth"
)
model.backbone.depth = 50

scales = combine(scales, {"small": {"model.backbone.depth": 50, "model.backbone.width": 8}})
