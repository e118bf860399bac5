"""Pseudo boxes for the images that a share of the COCO labels leaves over, by a supervised detector: Xu et al. 2021.

The first half of "Multi-Stage" (Table 5), of which it is known that the supervised model labels and that a score of 0.9
chooses (the authors in the code's tracker, no. 11 and 143): the image's size is that of evaluation, by our choice. All
boxes above 0.05 are kept; which become labels is for the training to say.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.data.augmentations.soft_teacher import KeepRatioResize
from repro.data.mapper import InferenceMapper

from ..common.run import run
from ..common.run import scales as run_scales
from ..common.semi import drawn, label_scales

data = dict(
    **drawn,
    unlabelled=dict(dataset="rest"),  # what the share leaves over
    mapper=L(InferenceMapper)(augmentation=L(KeepRatioResize)(short_edge=800, max_size=1333), channels="BGR"),
    batch_size=4,  # a process
    workers=4,  # threads that decode, a process
)
label = dict(shards=None)  # of 256 images each
inference = dict(roi_heads=dict(box_predictor=dict(test_score_thresh=0.05)))  # laid over the detector's recipe

# At smoke no detector is sure of anything.
scales = combine(run_scales, label_scales, {"smoke": {"inference.roi_heads.box_predictor.test_score_thresh": 0.0}})
