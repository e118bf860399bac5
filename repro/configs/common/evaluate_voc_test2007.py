"""PASCAL VOC's average precision on test2007, and COCO's beside it, images as on COCO val2017 (authors' settings).

`voc.AP`, `voc.AP50` and `voc.AP75` are what DETReg's code prints (eleven points of recall, difficult objects left out).
`coco_box` takes difficult objects for ordinary ones, as those do who turn VOC into COCO's layout.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.evaluation import coco_box, voc

from .evaluate_coco_val2017 import data, run
from .evaluate_coco_val2017 import scales as coco_scales
from .voc import test_scales

data.dataset = "voc_2007_test"
evaluators = dict(
    voc=L(voc.Evaluator)(),
    coco_box=L(coco_box.Evaluator)(max_detections=[1, 10, 100], class_agnostic=False),
)

scales = combine(coco_scales, test_scales)
