"""Deformable DETR on the 60 base classes of COCO, before few-shot training: Bar et al. 2022, Sec. 4.3, Table 3.

About 99,000 images, and no box of a novel class. Schedule, batch and rate are not stated but "similar to COCO": those
for all labels. The head has all 80 outputs, of which 20 see no object.
"""

from repro.configs.scales import combine

from ..common.fewshot import base_scales
from .finetune_coco_percent import data, init, model, optimizer, run, train
from .finetune_coco_percent import scales as coco_scales

data.dataset = "coco_fewshot_base"
data.percent = 100
data.total_batch_size = 32
train.epochs = 50
train.lr_drops = [40]

scales = combine(coco_scales, base_scales)
