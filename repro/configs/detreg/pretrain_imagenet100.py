"""DETReg's pretraining on ImageNet-100, for the ablations: 50 epochs, as on COCO. Bar et al. 2022, Sec. 4.5."""

from .pretrain_coco import data, detector, init, model, optimizer, run, scales, train

data.dataset = "imagenet100_train"
train.epochs = 50  # authors' settings
train.lr_drops = [40]
