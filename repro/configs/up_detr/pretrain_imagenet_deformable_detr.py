"""UP-DETR's pretraining around a Deformable DETR: our port of a baseline of Bar et al. 2022 (Tables 1 and 7).

Its authors never released it and lost the weights. What they say is that the schedule is DETReg's; ten groups of 30
queries are UP-DETR's ten groups with Deformable DETR's 300 queries.
"""

from repro.configs.scales import combine, moved

from ..common.coco import scales as data_scales
from ..common.deformable_detr_r50 import model as detector
from ..common.deformable_detr_r50 import scales as detector_scales
from ..common.optim import optimizer
from ..common.optim import scales as optimizer_scales
from ..common.run import scales as run_scales
from ..common.train import scales as train_scales
from .pretrain_imagenet_detr import data, init, model, run, task_scales, train

detector.num_classes = 2
model.detector = detector

optimizer.lr_factors.backbone = 0
data.total_batch_size = 192  # as DETReg's
train.epochs = 5
train.lr_drops = []

scales = combine(
    run_scales,
    train_scales,
    optimizer_scales,
    moved(detector_scales, "model", "model.detector"),
    data_scales,
    task_scales,
    {
        "small": {
            "optimizer.lr_factors": {"backbone": 0, "reference_points|sampling_offsets": 1.0},
            "model.detector.num_classes": 2,
        }
    },
)
