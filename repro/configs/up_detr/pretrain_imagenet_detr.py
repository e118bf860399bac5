"""UP-DETR's pretraining, 60 epochs on ImageNet: Dai et al. 2021, Sec. 4 (authors' settings unless said otherwise)."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, moved
from repro.data.random_patches import RandomPatchMapper
from repro.meta_arch.up_detr import UPDETR

from ..common.coco import scales as data_scales
from ..common.detr_optim import optimizer
from ..common.detr_optim import scales as optimizer_scales
from ..common.detr_r50 import model as detector
from ..common.detr_r50 import scales as detector_scales
from ..common.run import run
from ..common.run import scales as run_scales
from ..common.train import scales as train_scales
from ..common.train import train
from ..detreg.pretrain_coco import data

detector.transformer.encoder.pre_norm = True
detector.transformer.decoder.pre_norm = True
detector.num_classes = 2  # a patch is 0 and nothing is 1; authors' head has as many
model = L(UPDETR)(
    detector=detector,
    patch_feature="res5",
    num_groups=10,  # of ten queries: Sec. 3.3
    query_dropout=0.1,
    weight_feature=1.0,
)
init = {"encoder": {"into": {"detector.backbone": []}}}

optimizer.lr_factors.backbone = 0  # frozen: Sec. 3.2
data.mapper = L(RandomPatchMapper)(
    augmentation=data.mapper.augmentation,
    crops=data.mapper.crops,  # distorted as DETReg's
    k=10,
    smallest=8,
    channels="RGB",
    cache_images=False,
)
data.mapper.augmentation.crop = 0.0  # another size is all that happens to the image
data.mapper.augmentation.flip = 0.0
data.dataset = "imagenet_train"
data.total_batch_size = 256
train.epochs = 60
train.lr_drops = [40]

task_scales = {
    "small": {"data.mapper.crops.size": 48, "train.iterations": 6000},
    "tiny": {"train.iterations": 800},
}
scales = combine(
    run_scales,
    train_scales,
    optimizer_scales,
    moved(detector_scales, "model", "model.detector"),
    data_scales,
    task_scales,
    {
        "small": {
            "optimizer.lr_factors": {"backbone": 0},
            "init.encoder.into": {"detector.backbone": ["res5"]},
            "model.patch_feature": "res4",
            "model.detector.num_classes": 2,
        }
    },
)
