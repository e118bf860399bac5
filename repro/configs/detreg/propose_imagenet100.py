"""DETReg's region proposals on ImageNet-100, as on COCO. Bar et al. 2022, Sec. 3.1 and 4.5."""

from .propose_coco import data, propose, run, scales

data.dataset = "imagenet100_train"
