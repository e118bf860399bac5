"""Soft Teacher on 5 % of COCO's labels, first fold, as mmdetection 3 published it: 30.4 AP by its README."""

from .mmdet_soft_teacher_1_percent import model, published, run

published.url = (
    "https://download.openmmlab.com/mmdetection/v3.0/soft_teacher/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.05-coco/"
    "soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0_20230331_070656-308798ad.pth"
)
published.file = "mmdet_soft_teacher_r50_5_percent_fold_1.pth"
published.sha256 = "308798ad"  # the first digits are in the published name
