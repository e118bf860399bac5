"""UP-DETR's pretraining around a Deformable DETR on ImageNet-100, our port, for Bar et al. 2022, Table 7.

Nothing is stated but the data set: the schedule is that of DETReg's ablations.
"""

from .pretrain_imagenet_deformable_detr import data, detector, init, model, optimizer, run, scales, train

data.dataset = "imagenet100_train"
train.epochs = 50
train.lr_drops = [40]
