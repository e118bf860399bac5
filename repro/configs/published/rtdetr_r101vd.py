"""RT-DETR on r101vd as its authors published it: 54.3 AP on COCO val2017 by its README."""

from ..rtdetr.rtdetr_r101vd import model, run
from .rtdetr_r18vd import published

published.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetr_r101vd_6x_coco_from_paddle.pth"
