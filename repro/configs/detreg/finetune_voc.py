"""Deformable DETR on PASCAL VOC trainval07+12, for 100 epochs: Bar et al. 2022, Sec. 4.1, Tables 2 and 8.

Expect 63.5 AP (VOC's, mean over overlaps) from DETReg's weights and 61.0 from SwAV's backbone.
"""

from repro.configs.scales import combine

from ..common.voc import train_scales
from .finetune_coco_percent import data, init, model, optimizer, run, train
from .finetune_coco_percent import scales as coco_scales

model.num_classes = 20
data.dataset = "voc_0712_trainval"
data.percent = 100
data.total_batch_size = 32  # authors' settings
train.epochs = 100  # Sec. 4.1
train.lr_drops = [70]

scales = combine(coco_scales, train_scales)
