"""RT-DETRv2 on r101vd as its authors published it: 54.3 AP on COCO val2017 by its README.

Probably RT-DETR's own file again: it is a conversion from Paddle, and scores the same.
"""

from ..rtdetr.rtdetrv2_r101vd import model, run
from .rtdetr_r18vd import published

published.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetrv2_r101vd_6x_coco_from_paddle.pth"
