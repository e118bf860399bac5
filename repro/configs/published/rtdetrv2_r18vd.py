"""RT-DETRv2 on r18vd as its authors published it: 47.9 AP on COCO val2017 by its README."""

from ..rtdetr.rtdetrv2_r18vd import model, run
from .rtdetr_r18vd import published

published.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetrv2_r18vd_120e_coco.pth"
