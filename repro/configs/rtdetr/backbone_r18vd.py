"""ResNet-18-vd on ImageNet, as RT-DETR starts from it: by PaddleClas, converted by RT-DETR's authors."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.engine.pretext import Classifier, LabelledCrops
from repro.modeling.presnet import PResNet

from ..common.encoder import data, optimizer, train
from ..common.encoder import scales as encoder_scales
from ..common.run import run
from ..common.run import scales as run_scales

encoder = dict(
    source="published",
    url="https://github.com/lyuwenyu/storage/releases/download/v0.1/ResNet18_vd_pretrained_from_paddle.pth",
    sha256=None,  # none was published; the record holds that of what was loaded
    key=None,
    family="presnet",
)
model = L(Classifier)(
    backbone=L(PResNet)(depth=18, width=64, freeze_at=-1, freeze_norm=False, out_features=["res3", "res4", "res5"]),
    num_classes=1000,
    pixel_mean=[0.0, 0.0, 0.0],  # pixels in 0…1, as the detectors take them
    pixel_std=[255.0, 255.0, 255.0],
)
data.mapper = L(LabelledCrops)(size=224, context=0.2)

scales = combine(run_scales, encoder_scales, {"small": {"model.num_classes": 8, "data.mapper.size": 48}})
