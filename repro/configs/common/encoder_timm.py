"""Weights of one of timm's networks, as a backbone and target encoder; at small scales a small one, trained on labels.

A table or a recipe names another network, or a file of one's own, by setting ``model.backbone.name``,
``encoder.url`` (a URL or an absolute path) and ``encoder.sha256``.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, without
from repro.engine.pretext import Classifier, LabelledCrops

from .encoder import data, optimizer, pixels, train
from .encoder import scales as encoder_scales
from .run import run
from .run import scales as run_scales
from .timm_backbone import backbone, small

encoder = dict(
    source="timm",
    url=None,  # where timm says that it is
    sha256=None,  # timm's names of files do not say it; the record holds that of what was loaded
)
backbone.norm = "BN"  # to train the network itself, at small scales
backbone.freeze = []
model = L(Classifier)(backbone=backbone, num_classes=1000, pixel_mean=pixels.mean, pixel_std=pixels.std)
data.mapper = L(LabelledCrops)(size=224, context=0.2)

scales = combine(
    run_scales,
    without(encoder_scales, "model.backbone.depth", "model.backbone.width"),
    {"small": {"model.backbone.name": small, "model.num_classes": 8, "data.mapper.size": 48}},
)
