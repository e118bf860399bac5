"""COCO box and mask AP on val2017, at several scales and mirrored.

The scales are those that CBNet's Swin-L was tested at; Soft Teacher's are not stated, nor how its views were merged.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, without
from repro.data.augmentations.geometry import Unchanged
from repro.data.mapper import InferenceMapper
from repro.engine.multi_scale import MultiScale
from repro.modeling.suppression import SoftNMS

from .evaluate_coco_val2017_mask import data, evaluators, run
from .evaluate_coco_val2017_mask import scales as one_scale

data.mapper = L(InferenceMapper)(augmentation=L(Unchanged)(), channels="RGB")
testing = L(MultiScale)(
    scales=[[1000, 1600], [1400, 1600], [1200, 1800], [1600, 1800]],  # (shorter side, most of the longer)
    flip=True,
    suppress=L(SoftNMS)(method="linear", iou=0.5, sigma=0.5, min_score=0.001),
    topk=100,
)

scales = combine(
    without(one_scale, "data.mapper.augmentation.short_edge", "data.mapper.augmentation.max_size"),
    {"small": {"testing.scales": [[80, 128], [96, 128], [112, 150]]}, "tiny": {"testing.scales": [[56, 80], [72, 96]]}},
)
