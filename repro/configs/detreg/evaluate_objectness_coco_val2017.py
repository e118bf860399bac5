"""How well a pretrained detector finds objects of COCO val2017, as its authors scored it: Bar et al. 2022, Table 7.

All queries are ranked by the logit of the one class that pretraining knows (index 1 in their head, 0 in ours), and
boxes are cut off at the image's left and upper side only. `evaluate_class_agnostic_coco_val2017.py` takes of a
detector's 100 best pairs of query and class those of that class, which may be fewer.
"""

from detectron2.config import LazyCall as L

from repro.evaluation import coco_class_agnostic

from ..common.evaluate_coco_val2017 import data, run, scales

detector = dict(only_class=0)
evaluators = dict(
    coco_class_agnostic=L(coco_class_agnostic.Evaluator)(max_detections=[1, 10, 100], only_class=None, clamp=True)
)
