"""Soft Teacher on 2 % of COCO's labels, first fold, as mmdetection 3 published it: 24.9 AP by its README."""

from .mmdet_soft_teacher_1_percent import model, published, run

published.url = (
    "https://download.openmmlab.com/mmdetection/v3.0/soft_teacher/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.02-coco/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0_20230331_020244-c0d2c3aa.pth"
)
published.file = "mmdet_soft_teacher_r50_2_percent_fold_1.pth"
published.sha256 = "c0d2c3aa"  # the first digits are in the published name
