"""torchvision's first ResNet-50 for ImageNet: the backbone of the rows that papers call supervised."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.engine.pretext import Classifier, LabelledCrops

from .encoder import backbone, data, optimizer, pixels, train
from .encoder import scales as encoder_scales
from .run import run
from .run import scales as run_scales

encoder = dict(
    source="published",
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    sha256="0676ba61",  # the first digits are in the published name
    key=None,
    family="torchvision_resnet",
)
model = L(Classifier)(backbone=backbone, num_classes=1000, pixel_mean=pixels.mean, pixel_std=pixels.std)
data.mapper = L(LabelledCrops)(size=224, context=0.2)

scales = combine(run_scales, encoder_scales, {"small": {"model.num_classes": 8, "data.mapper.size": 48}})
