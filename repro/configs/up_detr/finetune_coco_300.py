"""DETR on COCO train2017 from UP-DETR's weights for 300 epochs: Dai et al. 2021, Sec. 4.2; Bar et al. 2022, Table 1.

Expect 42.8 AP as both papers print it; the weights that its authors released score 43.1 (their README).
"""

from ..detreg.finetune_coco_detr_300 import scales
from .finetune_coco import data, init, model, optimizer, run, train

train.epochs = 300
train.lr_drops = [200]  # authors' settings
