"""COCO box AP on val2017 of a detector that was trained with offline pseudo boxes; see the evaluation without them."""

from .evaluate_supervised_coco_val2017 import data, evaluators, run, scales

inference = dict(detector=dict(roi_heads=dict(box_predictor=dict(test_score_thresh=0.05))))
