"""The same with STAC's strong augmentation of labelled images: Xu et al. 2021, Table 2, "Supervised baseline (STAC)".

Expect 9.83, 21.18 and 26.18 AP with 1, 5 and 10 % of the labels. That these numbers are of strong augmentation is our
reading: without it STAC's abstract has 23.86 with 10 %.
"""

from ..common.stac_r50 import strong
from .stac_supervised_coco_percent import data, init, model, optimizer, run, scales, train

data.mapper.augmentation = strong
del strong
