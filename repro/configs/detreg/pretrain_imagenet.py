"""DETReg's pretraining on ImageNet-1k: 5 epochs, as on COCO otherwise. Bar et al. 2022, Sec. 4.

The learning rate never falls: the authors' default would drop it after 40 epochs. At the small scales these are the
generated images that stand in for COCO, and the stage is the same one.
"""

from .pretrain_coco import data, detector, init, model, optimizer, run, scales, train

data.dataset = "imagenet_train"
train.epochs = 5  # Sec. 4 for Deformable DETR, and the authors' settings
train.lr_drops = []
