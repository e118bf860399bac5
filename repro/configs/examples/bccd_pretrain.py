"""DETReg's pretraining on BCCD's 205 training images, without their labels."""

from repro.configs.scales import combine, moved, without

from ..common.bccd import query_scales, view_scales
from ..detreg.pretrain_coco import data, init, model, optimizer, run, train
from ..detreg.pretrain_coco import scales as coco_scales

data.dataset = "bccd_train"
data.total_batch_size = 16  # ours: 192 would be all images at once
train.epochs = 1
train.lr_drops = [0.8]  # of the training, as on COCO
train.iterations = 10000  # ours: 780 epochs

scales = combine(
    without(coco_scales, "data.dataset", "train.epochs", "train.lr_drops"),
    view_scales,
    moved(query_scales, "model", "model.detector"),
    {
        "small": {"data.mapper.k": 20, "train.iterations": 600},  # of 60 queries
        "tiny": {"train.iterations": 300},
        "smoke": {"data.percent": 10, "train.iterations": 2},  # the images that smoke has proposals for
    },
)
