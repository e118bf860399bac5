"""Soft Teacher as the paper has it where the released code differs: losses, variance (Eq. 9) and jittering."""

from detectron2.config import LazyCall as L

from repro.modeling.box_jitter import UniformNoise

from .paper_losses_coco_percent import data, init, model, optimizer, run, scales, train

model.method.regression.jitter.unit = "mean_side"
model.method.regression.jitter.noise = L(UniformNoise)(scale=0.06)
