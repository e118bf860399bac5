"""Selective Search on COCO val2017, to be scored and shown: Bar et al. 2022, Table 7, Figures 5 and 8."""

from repro.configs.scales import combine

from .propose_coco import data, propose, run
from .propose_coco import scales as propose_scales

data.dataset = "coco_2017_val"
propose.channel_order = "BGR"  # what the authors' evaluation hands over, unlike their training

scales = combine(
    propose_scales,
    {scale: {"data.dataset": f"shapes_{scale}_val"} for scale in ("small", "tiny", "smoke")},
)
