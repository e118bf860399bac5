"""MSRA's first ResNet-50 for ImageNet (He et al. 2016), as Detectron2 and mmdetection hand it on: stride in the 1×1."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.engine.pretext import Classifier, LabelledCrops

from .encoder import backbone, data, optimizer, train
from .encoder import scales as encoder_scales
from .run import run
from .run import scales as run_scales

encoder = dict(
    source="published",
    url="https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/R-50.pkl",
    sha256=None,  # none was published; the record holds that of what was loaded
    key="model",
    family="msra_resnet",
)
backbone.stride_in_1x1 = True
model = L(Classifier)(
    backbone=backbone,
    num_classes=1000,
    pixel_mean=[103.53, 116.28, 123.675],  # BGR, as the detectors normalise
    pixel_std=[1.0, 1.0, 1.0],
)
data.mapper = L(LabelledCrops)(size=224, context=0.2, channels="BGR")

scales = combine(run_scales, encoder_scales, {"small": {"model.num_classes": 8, "data.mapper.size": 48}})
