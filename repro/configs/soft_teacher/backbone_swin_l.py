"""Swin-L on ImageNet-22K, by Swin's authors: 224 pixels, windows of 7.

There is another of 384 pixels and windows of 12. Which of the two Soft Teacher starts from is not stated; detectors
with published recipes start from this one. For the other, set ``model.backbone.window_size`` here and in the detector,
and ``encoder.url``.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, without
from repro.engine.pretext import Classifier, LabelledCrops

from ..common.encoder import data, optimizer, pixels, train
from ..common.encoder import scales as encoder_scales
from ..common.htc_swin_l import backbone, swin_scales
from ..common.run import run
from ..common.run import scales as run_scales

encoder = dict(
    source="published",
    url="https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_large_patch4_window7_224_22k.pth",
    sha256=None,  # none was published; the record holds that of what was loaded
    key="model",
    family="swin",
)
backbone.out_norms = False
backbone.global_attention = False
model = L(Classifier)(backbone=backbone, num_classes=21841, pixel_mean=pixels.mean, pixel_std=pixels.std)
data.mapper = L(LabelledCrops)(size=224, context=0.2, channels="RGB")

scales = combine(
    run_scales,
    without(encoder_scales, "model.backbone.depth", "model.backbone.width"),
    swin_scales,
    {"small": {"model.num_classes": 8, "data.mapper.size": 64}},
)
