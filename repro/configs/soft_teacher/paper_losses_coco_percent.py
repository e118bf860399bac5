"""Soft Teacher with the losses as the paper prints them: Xu et al. 2021, Eq. 3, 4, 5 and 10.

Foreground and background of an image have the same mass, and regression is divided by the foreground boxes. An author
says that the released code is right and the equations are not; no number of theirs is in print.
"""

from detectron2.config import LazyCall as L

from repro.modeling.soft_weights import PerImageLosses

from .soft_teacher_coco_percent import data, init, model, optimizer, run, scales, train

model.method.losses = L(PerImageLosses)()
