"""Selective Search on ImageNet-1k as DETReg's published code runs it, noise by level included. Bar et al. 2022."""

from ..common.coco import images as data
from ..common.proposals import authors as propose
from ..common.proposals import scales
from ..common.run import run

data.update(dataset="imagenet_train")
