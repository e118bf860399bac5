"""Selective Search on ImageNet-100 as the paper has it: whole images, right channels. Bar et al. 2022, Sec. 3.1."""

from ..common.coco import images as data
from ..common.proposals import clean as propose
from ..common.proposals import scales
from ..common.run import run

data.update(dataset="imagenet100_train")
