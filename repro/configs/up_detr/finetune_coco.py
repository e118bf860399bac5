"""DETR on COCO train2017 from UP-DETR's weights: Dai et al. 2021, Sec. 4.2; Bar et al. 2022, Table 1.

150 epochs; positions are counted as in DETR.
"""

from ..detreg.finetune_coco_detr import data, init, model, optimizer, run, scales, train

model.transformer.centred_position = False
init.pretrain.drop = ["class_embed", "patch2query", "feature_align"]
optimizer.lr_factors.backbone = 0.5  # 5e-5: authors' README
data.total_batch_size = 16  # authors' settings: 2 on each of 8 GPUs
