"""DETReg's Deformable DETR, fine-tuned on COCO train2017 by its authors (Bar et al. 2022, Table 1): 45.5 AP."""

from ..common.deformable_detr_r50 import model
from ..common.run import run

published = dict(
    url="https://github.com/amirbar/DETReg/releases/download/1.0.0/full_coco_finetune.pth",
    sha256=None,  # none was published; the record holds that of what was loaded
    key="model",
    family="deformable_detr",
    drop=[],
)
