"""DETR on a ResNet-50 after 500 epochs of COCO train2017 (Carion et al. 2020, Table 1): 42.0 AP by its README."""

from ..common.detr_r50 import model
from ..common.run import run

published = dict(
    url="https://dl.fbaipublicfiles.com/detr/detr-r50-e632da11.pth",
    sha256="e632da11",  # the first digits are in the published name
    key="model",
    family="detr",
    drop=[],
)
