"""Deformable DETR on all labels of COCO train2017, for 50 epochs: Bar et al. 2022, Sec. 4.1, Table 1.

Expect 45.5 AP from DETReg's weights, 45.2 from SwAV's backbone and 44.5 from a supervised one.
"""

from .finetune_coco_percent import data, init, model, optimizer, run, scales, train

data.percent = 100
data.total_batch_size = 32  # authors' settings
train.epochs = 50
train.lr_drops = [40]
