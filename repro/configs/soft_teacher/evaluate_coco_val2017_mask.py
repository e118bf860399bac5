"""COCO box and mask AP on val2017, at one scale: shorter side 1400, as the published recipes of Swin detectors test.

Of a Soft Teacher the student answers, unless its recipe says otherwise.
"""

from detectron2.config import LazyCall as L

from repro.evaluation import coco_mask

from ..common.evaluate_coco_val2017 import data, evaluators, run, scales

data.mapper.augmentation.short_edge = 1400
data.mapper.augmentation.max_size = 1600
evaluators.coco_mask = L(coco_mask.Evaluator)(max_detections=[1, 10, 100])
