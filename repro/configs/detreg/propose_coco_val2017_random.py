"""Random boxes on COCO val2017, to be scored. Bar et al. 2022, Table 7, which does not say how they were drawn."""

from repro.configs.scales import combine

from ..common.coco import images as data
from ..common.proposals import any_scales, val_scales
from ..common.proposals import random as propose
from ..common.run import run

data.update(dataset="coco_2017_val")

scales = combine(any_scales, val_scales)
