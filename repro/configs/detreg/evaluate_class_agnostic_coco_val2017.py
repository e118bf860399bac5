"""How well a pretrained detector finds objects of COCO val2017, whatever their class: Bar et al. 2022, Table 7.

Pretraining knows one class, so the first output is the objectness and the others mean nothing. Images as for fine-tuned
detectors (authors' code).
"""

from detectron2.config import LazyCall as L

from repro.evaluation import coco_class_agnostic

from ..common.evaluate_coco_val2017 import data, run, scales

evaluators = dict(coco_class_agnostic=L(coco_class_agnostic.Evaluator)(max_detections=[1, 10, 100], only_class=0))
