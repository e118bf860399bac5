"""COCO box AP on val2017 of STAC's second stage."""

from .evaluate_pseudo_labelled_coco_val2017 import inference
from .evaluate_stac_coco_val2017 import data, evaluators, run, scales
