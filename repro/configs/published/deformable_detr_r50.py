"""Deformable DETR on a ResNet-50 after 50 epochs of COCO train2017 (Zhu et al. 2021): 44.5 AP by its README.

One stage, boxes not refined. Its file lies on a shared drive that may answer with a page to be confirmed; then it has
to be fetched by hand.
"""

from ..common.deformable_detr_r50 import model
from ..common.run import run

published = dict(
    url="https://drive.usercontent.google.com/download?id=1nDWZWHuRwtwGden77NLM9JoWe-YisJnA&export=download&confirm=t",
    file="r50_deformable_detr-checkpoint.pth",
    sha256=None,  # none was published; the record holds that of what was loaded
    key="model",
    family="deformable_detr",
    drop=[],
)
