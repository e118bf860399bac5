"""Faster R-CNN on a ResNet-50 with FPN, as Soft Teacher takes it: mmdetection 2.16's settings where they differ.

The backbone is MSRA's (stride in the 1×1 convolution, BGR, no division by a standard deviation), with its statistics
and the first two stages frozen.
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads.box_head import FastRCNNConvFCHead
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.roi_heads import StandardROIHeads

from repro.meta_arch.faster_rcnn import FasterRCNN
from repro.modeling.backbone import resnet

from .rpn import rpn

model = L(FasterRCNN)(
    backbone=L(FPN)(
        bottom_up=L(resnet)(
            depth=50,
            width=64,
            norm="FrozenBN",
            freeze_at=2,
            out_features=["res2", "res3", "res4", "res5"],
            stride_in_1x1=True,
        ),
        in_features=["res2", "res3", "res4", "res5"],
        out_channels=256,
        norm="",
        top_block=L(LastLevelMaxPool)(),
    ),
    proposal_generator=rpn,
    roi_heads=L(StandardROIHeads)(
        num_classes=80,
        batch_size_per_image=512,
        positive_fraction=0.25,
        proposal_matcher=L(Matcher)(thresholds=[0.5], labels=[0, 1], allow_low_quality_matches=False),
        proposal_append_gt=True,
        box_in_features=["p2", "p3", "p4", "p5"],
        box_pooler=L(ROIPooler)(
            output_size=7,
            scales=[1 / 4, 1 / 8, 1 / 16, 1 / 32],
            sampling_ratio=0,
            pooler_type="ROIAlignV2",
            canonical_box_size=224,
        ),
        box_head=L(FastRCNNConvFCHead)(
            input_shape=L(ShapeSpec)(channels=256, height=7, width=7), conv_dims=[], fc_dims=[1024, 1024]
        ),
        box_predictor=L(FastRCNNOutputLayers)(
            input_shape=L(ShapeSpec)(channels=1024),
            box2box_transform=L(Box2BoxTransform)(weights=[10.0, 10.0, 5.0, 5.0]),
            num_classes=80,
            test_score_thresh=0.05,
            test_nms_thresh=0.5,
            test_topk_per_image=100,
            smooth_l1_beta=0.0,  # L1
        ),
    ),
    pixel_mean=[103.53, 116.28, 123.675],  # BGR, ImageNet
    pixel_std=[1.0, 1.0, 1.0],  # the standard deviation is in the weights of the first convolution
    input_format="BGR",
)

# Ours: as small as one thread of a CPU needs. The generated images show eight classes, 12 to 100 pixels wide.
scales = {
    "small": {
        "model.backbone.bottom_up.depth": 18,
        "model.backbone.bottom_up.width": 16,
        "model.backbone.bottom_up.freeze_at": 0,  # weights that were trained for seconds are no reason to stay so
        "model.backbone.out_channels": 48,
        "model.proposal_generator.head.in_channels": 48,
        "model.proposal_generator.anchor_generator.sizes": [[8], [16], [32], [64], [128]],
        "model.proposal_generator.batch_size_per_image": 64,
        "model.proposal_generator.pre_nms_topk": [200, 100],
        "model.proposal_generator.post_nms_topk": [100, 100],
        "model.roi_heads.num_classes": 8,
        "model.roi_heads.batch_size_per_image": 64,
        "model.roi_heads.box_pooler.canonical_box_size": 56,
        "model.roi_heads.box_head.input_shape.channels": 48,
        "model.roi_heads.box_head.fc_dims": [128, 128],
        "model.roi_heads.box_predictor.input_shape.channels": 128,
        "model.roi_heads.box_predictor.num_classes": 8,
    },
}
