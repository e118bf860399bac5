"""COCO box AP on BCCD's 72 test images."""

from repro.configs.scales import combine, without

from ..common.evaluate_coco_val2017 import data, evaluators, run
from ..common.evaluate_coco_val2017 import scales as coco_scales

data.dataset = "bccd_test"

scales = combine(
    without(coco_scales, "data.dataset"),
    {
        "small": {"data.mapper.augmentation.short_edge": 128, "data.mapper.augmentation.max_size": 192},
        "tiny": {"data.mapper.augmentation.short_edge": 96, "data.mapper.augmentation.max_size": 128},
    },
)
