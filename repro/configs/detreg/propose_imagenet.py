"""DETReg's region proposals on ImageNet-1k, as on COCO. Bar et al. 2022, Sec. 3.1."""

from .propose_coco import data, propose, run, scales

data.dataset = "imagenet_train"
