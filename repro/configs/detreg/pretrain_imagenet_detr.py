"""DETReg's pretraining around a DETR, 60 epochs on ImageNet: Bar et al. 2022, Sec. 4, Table 1.

As in the authors' code the transformer is pre-norm and positions are counted from pixel centres, unlike DETR's.
"""

from repro.configs.scales import combine, moved

from ..common.coco import scales as data_scales
from ..common.detr_optim import optimizer
from ..common.detr_optim import scales as optimizer_scales
from ..common.detr_r50 import model as detector
from ..common.detr_r50 import scales as detector_scales
from ..common.run import scales as run_scales
from ..common.train import scales as train_scales
from .pretrain_coco import data, init, model, run, task_scales, train

detector.transformer.encoder.pre_norm = True  # authors' settings
detector.transformer.decoder.pre_norm = True
detector.transformer.centred_position = True  # authors' code
model.detector = detector

optimizer.lr_factors.backbone = 0  # frozen in pretraining: Sec. 4, implementation
data.dataset = "imagenet_train"
train.epochs = 60  # authors' settings
train.lr_drops = []  # authors' settings: the default of 200 is never reached

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
            "init.encoder.into": {"detector.backbone": ["res5"], "target_encoder": ["res4", "res5"]},
        }
    },
)
