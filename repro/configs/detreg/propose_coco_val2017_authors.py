"""Selective Search on COCO val2017 as the published evaluation runs it, in OpenCV's order. Bar et al. 2022, Table 7."""

from repro.configs.scales import combine

from ..common.coco import images as data
from ..common.proposals import authors as propose
from ..common.proposals import scales as proposal_scales
from ..common.proposals import val_scales
from ..common.run import run

data.update(dataset="coco_2017_val")
propose.update(
    channel_order="BGR",  # the authors' code for evaluating does not mistake it, unlike the one for pretraining
    max_boxes=1000,  # authors' settings
)

scales = combine(proposal_scales, val_scales)
