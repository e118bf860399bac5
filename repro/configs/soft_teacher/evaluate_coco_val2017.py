"""COCO box AP on val2017 of a Soft Teacher's student or teacher (Xu et al. 2021); see the evaluation without one.

The printed numbers do not say whose they are. Released code tests the student, mmdetection 3 the teacher: tables
evaluate both, each at both thresholds.
"""

from detectron2.config import LazyCall as L

from repro.data.augmentations.soft_teacher import KeepRatioResize

from ..common.evaluate_coco_val2017 import data, evaluators, run, scales

data.mapper.augmentation = L(KeepRatioResize)(short_edge=800, max_size=1333)  # as in training, without antialias
data.mapper.channels = "BGR"
inference = dict(  # laid over the detector's recipe
    inference_on="student",
    detector=dict(roi_heads=dict(box_predictor=dict(test_score_thresh=0.05))),
)
