"""DETReg's pretraining on the images of COCO train2017, without labels. Bar et al. 2022, Sec. 3 and 4."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, moved, without
from repro.data.augmentations.crops import CropViews
from repro.data.augmentations.detr import DetrAugmentation
from repro.data.pretrain import PretrainMapper
from repro.meta_arch.detreg import DETReg
from repro.modeling.backbone import resnet

from ..common.coco import labelled as data
from ..common.coco import scales as data_scales
from ..common.deformable_detr_r50 import model as detector
from ..common.deformable_detr_r50 import scales as detector_scales
from ..common.optim import optimizer
from ..common.optim import scales as optimizer_scales
from ..common.run import run
from ..common.run import scales as run_scales
from ..common.train import scales as train_scales
from ..common.train import train

model = L(DETReg)(
    detector=detector,
    target_encoder=L(resnet)(
        depth=50, width=64, norm="FrozenBN", freeze_at=5, out_features=["res3"], stride_in_1x1=False
    ),
    target_feature="res3",  # authors' code; 512 channels, averaged over space
    weight_embedding=1.0,  # lambda_e of Eq. 1; authors' settings
)
init = {"encoder": {"into": {"detector.backbone": [], "target_encoder": ["res4", "res5"]}}}

optimizer.lr_factors.backbone = 0  # frozen in pretraining: Sec. 4, implementation
data.mapper = L(PretrainMapper)(
    augmentation=L(DetrAugmentation)(  # authors' settings: smaller than for fine-tuning
        short_edges=[320, 336, 352, 368, 400, 416, 432, 448, 464, 480],
        max_size=600,
        crop_short_edges=[400, 500, 600],
        crop_size=[384, 600],
        crop=0.5,
        flip=0.5,
    ),
    crops=L(CropViews)(
        size=128,
        jitter=[0.4, 0.4, 0.4, 0.1],
        jitter_probability=0.8,
        grey_probability=0.2,
        blur_radius=[0.1, 2.0],
        blur_probability=0.5,
    ),
    k=30,  # Sec. 4
    policy="topk",
    redraw=True,  # the authors' code searches anew in every epoch, and with it draws a new order
    shuffle=False,
    channels="RGB",
    cache_images=False,
)
data.total_batch_size = 192  # authors' settings; the rate is not scaled with it
train.epochs = 50  # authors' settings
train.lr_drops = [40]

task_scales = {
    "small": {
        "model.target_encoder.depth": 18,
        "model.target_encoder.width": 16,
        "data.mapper.crops.size": 48,
        "data.mapper.k": 10,  # ours: there are 30 queries, not 300
        "train.iterations": 6000,
    },
    "tiny": {"train.iterations": 800},
}
scales = combine(
    run_scales,
    train_scales,
    without(optimizer_scales, "optimizer.lr_factors"),
    moved(detector_scales, "model", "model.detector"),
    data_scales,
    task_scales,
    {"small": {"optimizer.lr_factors.reference_points|sampling_offsets": 1.0}},  # freezing is the recipe's to say
)
