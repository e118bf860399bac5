"""RT-DETR on r18vd as its authors published it (Lv et al. 2024): 46.4 AP on COCO val2017 by its README."""

from ..rtdetr.rtdetr_r18vd import model, run

published = dict(
    url="https://github.com/lyuwenyu/storage/releases/download/v0.1/rtdetr_r18vd_dec3_6x_coco_from_paddle.pth",
    sha256=None,  # none was published; the record holds that of what was loaded
    key=None,  # averaged weights where the file has them, else those of the last step
    family="rtdetr",
    drop=[],
)
