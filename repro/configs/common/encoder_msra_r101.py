"""MSRA's first ResNet-101 for ImageNet; see `encoder_msra_r50.py`."""

from repro.configs.scales import combine

from .encoder_msra_r50 import data, encoder, model, optimizer, run, scales, train

encoder.url = "https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/R-101.pkl"
model.backbone.depth = 101

scales = combine(scales, {"small": {"model.backbone.depth": 34}})  # deeper than the other, as at paper scale
