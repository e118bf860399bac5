"""AP of the 20 novel classes on the 5,000 test images of TFA's split, all of them, images as on COCO val2017."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.data.datasets.fewshot import NOVEL
from repro.evaluation import coco_box, coco_fewshot

from ..common.evaluate_coco_val2017 import data, run
from ..common.evaluate_coco_val2017 import scales as coco_scales
from ..common.fewshot import test_scales

data.dataset = "coco_fewshot_test"
evaluators = dict(
    coco_fewshot=L(coco_fewshot.Evaluator)(novel=list(NOVEL), max_detections=[1, 10, 100]),
    coco_box=L(coco_box.Evaluator)(max_detections=[1, 10, 100], class_agnostic=False),
)

scales = combine(coco_scales, test_scales)
