"""Deformable DETR on a share of BCCD's labels, equally long whatever the share."""

from repro.configs.scales import combine, without

from ..common.bccd import query_scales, view_scales
from ..detreg.finetune_coco_percent import data, init, model, optimizer, run, train
from ..detreg.finetune_coco_percent import scales as coco_scales

model.num_classes = 3  # platelets, red and white cells
data.dataset = "bccd_train"
data.percent = 100  # columns of the table set this
data.total_batch_size = 8
train.epochs = 1
train.lr_drops = [0.8]  # of the training
train.iterations = 5000

scales = combine(
    without(coco_scales, "model.num_classes", "data.dataset", "data.percent", "train.epochs", "train.lr_drops"),
    view_scales,
    query_scales,
    {
        "small": {"data.total_batch_size": 4, "train.iterations": 300},
        "tiny": {"train.iterations": 200},
        "smoke": {"train.iterations": 2},
    },
)
