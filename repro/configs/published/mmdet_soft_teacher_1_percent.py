"""Soft Teacher on 1 % of COCO's labels, first fold, as mmdetection 3 published it: 19.9 AP by its README.

That is the teacher's. It is mmdetection's own version of the method, and its training: the teacher is averaged after
each step, without a ramp, a batch has one labelled image in five, and the augmentations are others.
"""

from .soft_teacher_1_percent import model, published, run

published.url = (
    "https://download.openmmlab.com/mmdetection/v3.0/soft_teacher/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.01-coco/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0_20230330_233412-3c8f6d4a.pth"
)
published.file = "mmdet_soft_teacher_r50_1_percent_fold_1.pth"
published.sha256 = "3c8f6d4a"  # the first digits are in the published name
