"""Selective Search on BCCD's training images, with DETReg's settings."""

from repro.configs.scales import combine, without

from ..detreg.propose_coco import data, propose, run
from ..detreg.propose_coco import scales as coco_scales

data.dataset = "bccd_train"

scales = combine(without(coco_scales, "data.dataset"), {"smoke": {"data.percent": 10}})
