"""ResNet-34-vd on ImageNet; see `backbone_r18vd.py`."""

from repro.configs.scales import combine

from .backbone_r18vd import data, encoder, model, optimizer, run, scales, train

encoder.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/ResNet34_vd_pretrained_from_paddle.pth"
model.backbone.depth = 34

scales = combine(scales, {"small": {"model.backbone.depth": 34, "model.backbone.width": 16}})
