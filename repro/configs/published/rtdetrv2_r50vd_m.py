"""RT-DETRv2 on r50vd_m as its authors published it: 51.9 AP on COCO val2017 by its README."""

from ..rtdetr.rtdetrv2_r50vd_m import model, run
from .rtdetr_r18vd import published

published.url = "https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetrv2_r50vd_m_7x_coco_ema.pth"
