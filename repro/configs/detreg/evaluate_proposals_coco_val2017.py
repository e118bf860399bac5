"""Raw proposals as class-agnostic detections of COCO val2017. Bar et al. 2022, Table 7, all but the trained rows.

Its parent is a ``propose`` stage on the same images.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.evaluation import coco_class_agnostic

from ..common.proposals import val_scales
from ..common.run import run
from ..common.run import scales as run_scales

data = dict(dataset="coco_2017_val", skip_bad=False)
proposals = dict(
    max_boxes=100,  # authors' settings: 1000, of which the protocol looks at 100
    scores="equal",  # authors' settings: their order decides
)
evaluators = dict(coco_class_agnostic=L(coco_class_agnostic.Evaluator)(max_detections=[1, 10, 100], only_class=None))

scales = combine(run_scales, val_scales)
