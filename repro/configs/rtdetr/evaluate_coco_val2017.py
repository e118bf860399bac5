"""COCO box AP on val2017, images stretched to 640 × 640 (Lv et al. 2024, Table 2)."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, without
from repro.data.augmentations.rtdetr import StretchResize
from repro.data.mapper import InferenceMapper

from ..common.evaluate_coco_val2017 import data, evaluators, run
from ..common.evaluate_coco_val2017 import scales as coco_scales

data.mapper = L(InferenceMapper)(augmentation=L(StretchResize)(size=[640, 640]), channels="RGB")

scales = combine(
    without(coco_scales, "data.mapper.augmentation.short_edge", "data.mapper.augmentation.max_size"),
    {
        "small": {"data.mapper.augmentation.size": [96, 96]},
        "tiny": {"data.mapper.augmentation.size": [64, 64]},
    },
)
