"""COCO box AP on val2017 of STAC's supervised detector."""

from ..common.stac_r50 import evaluated
from .evaluate_supervised_coco_val2017 import data, evaluators, inference, run, scales

data.mapper = evaluated
del evaluated
