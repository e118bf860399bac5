"""RT-DETR on r34vd as its authors published it: 48.9 AP on COCO val2017 by its README."""

from ..rtdetr.rtdetr_r34vd import model, run
from .rtdetr_r18vd import published

published.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetr_r34vd_dec4_6x_coco_from_paddle.pth"
