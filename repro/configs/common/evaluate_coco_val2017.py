"""COCO box AP on val2017, images resized to a shorter side of 800 (authors' settings)."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.data.augmentations.detr import ResizeShortEdge
from repro.data.mapper import InferenceMapper
from repro.evaluation import coco_box

from .run import run
from .run import scales as run_scales

data = dict(
    dataset="coco_2017_val",
    skip_bad=False,
    mapper=L(InferenceMapper)(augmentation=L(ResizeShortEdge)(short_edge=800, max_size=1333), channels="RGB"),
    batch_size=4,  # a process; images are not padded, so it changes no result
    workers=4,
)
evaluators = dict(coco_box=L(coco_box.Evaluator)(max_detections=[1, 10, 100], class_agnostic=False))

scales = combine(
    run_scales,
    {
        "small": {
            "data.dataset": "shapes_small_val",
            "data.mapper.augmentation.short_edge": 96,
            "data.mapper.augmentation.max_size": 128,
            "data.workers": 0,
        },
        "tiny": {
            "data.dataset": "shapes_tiny_val",
            "data.mapper.augmentation.short_edge": 64,
            "data.mapper.augmentation.max_size": 80,
        },
        "smoke": {"data.dataset": "shapes_smoke_val"},
    },
)
