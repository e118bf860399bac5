"""Soft Teacher with the details in which mmdetection 2.16, which it was written for, trains otherwise than Detectron2.

An object's best anchor counts from an overlap of 0.3 on; anchors beside an image's own padded area say nothing; the
border of that area is black. What they are worth nobody measured. Images are resized, rates warmed up and losses
divided as in mmdetection by all recipes of this paper.

Left as in Detectron2, for it changes next to nothing: size deltas are clamped from above only, and boxes narrower than
a pixel are kept.
"""

from detectron2.config import LazyCall as L

from repro.meta_arch.faster_rcnn import BlackBorderFasterRCNN
from repro.modeling.anchor_labels import MinimumMatcher, OwnAreaRPN

from .soft_teacher_coco_percent import data, init, model, optimizer, run, scales, train

model.detector._target_ = BlackBorderFasterRCNN
model.detector.proposal_generator._target_ = OwnAreaRPN
model.detector.proposal_generator.anchor_matcher = L(MinimumMatcher)(
    thresholds=[0.3, 0.7], labels=[0, -1, 1], minimum=0.3
)
