"""Edge Boxes on ImageNet-100, in place of Selective Search. Bar et al. 2022, Sec. 4.5 (a comparison in the text)."""

from ..common.coco import images as data
from ..common.proposals import edge_boxes as propose
from ..common.proposals import edge_scales as scales
from ..common.run import run

data.update(dataset="imagenet100_train")
