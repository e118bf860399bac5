"""Soft Teacher with uniform jittering, as its supplement is said to have it; the released code's is normal."""

from detectron2.config import LazyCall as L

from repro.modeling.box_jitter import UniformNoise

from .soft_teacher_coco_percent import data, init, model, optimizer, run, scales, train

model.method.regression.jitter.noise = L(UniformNoise)(scale=0.06)
