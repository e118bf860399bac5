"""Soft Teacher on 10 % of COCO's labels, first fold, as mmdetection 3 published it: 33.8 AP by its README."""

from .mmdet_soft_teacher_1_percent import model, published, run

published.url = (
    "https://download.openmmlab.com/mmdetection/v3.0/soft_teacher/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0_20230330_232113-b46f78d0.pth"
)
published.file = "mmdet_soft_teacher_r50_10_percent_fold_1.pth"
published.sha256 = "b46f78d0"  # the first digits are in the published name
