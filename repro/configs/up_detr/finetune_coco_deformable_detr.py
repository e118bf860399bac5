"""Deformable DETR on COCO train2017 from our port of UP-DETR's pretraining: Bar et al. 2022, Sec. 4.1, Table 1.

Expect 44.7 AP.
"""

from ..detreg.finetune_coco import data, init, model, optimizer, run, scales, train

init.pretrain.drop = ["class_embed", "patch2query", "feature_align"]
