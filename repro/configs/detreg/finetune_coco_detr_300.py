"""DETR on COCO train2017 for 300 epochs, else as for 150: Bar et al. 2022, Sec. 4.1, Table 1.

Expect 43.7 AP from DETReg's weights, 42.1 from SwAV's backbone and 40.8 from a supervised one.
"""

from repro.configs.scales import combine

from .finetune_coco_detr import data, init, model, optimizer, run, train
from .finetune_coco_detr import scales as short_scales

train.epochs = 300
train.lr_drops = [200]  # authors' default, that of DETR

scales = combine(short_scales, {"small": {"train.iterations": 2000}, "tiny": {"train.iterations": 1000}})
