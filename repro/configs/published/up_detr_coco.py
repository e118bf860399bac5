"""UP-DETR after 300 epochs of COCO train2017 (Dai et al. 2021): 43.1 AP by its README, 42.8 in the paper.

DETR, pre-norm. Its file lies on a shared drive that may answer with a page to be confirmed; then it has to be fetched
by hand.
"""

from ..common.detr_r50 import model
from ..common.run import run

model.transformer.encoder.pre_norm = True
model.transformer.decoder.pre_norm = True
published = dict(
    url="https://drive.usercontent.google.com/download?id=1_YNtzKKaQbgFfd6m2ZUCO6LWpKqd7o7X&export=download&confirm=t",
    file="up-detr-coco-fine-tuned-300ep.pth",
    sha256=None,  # none was published; the record holds that of what was loaded
    key="model",
    family="detr",
    drop=[],
)
