"""RT-DETRv2 on r34vd as its authors published it: 49.9 AP on COCO val2017 by its README."""

from ..rtdetr.rtdetrv2_r34vd import model, run
from .rtdetr_r18vd import published

published.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetrv2_r34vd_120e_coco_ema.pth"
