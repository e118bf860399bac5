"""RT-DETR on r50vd as its authors published it: 53.1 AP on COCO val2017 by its README."""

from ..rtdetr.rtdetr_r50vd import model, run
from .rtdetr_r18vd import published

published.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetr_r50vd_6x_coco_from_paddle.pth"
