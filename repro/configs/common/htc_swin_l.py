"""HTC++ on Swin-L, as far as it is known: nobody published a configuration, weights or a log of it.

What is stated: by Swin's authors (their code's tracker, no. 113) HTC++ is HTC with InstaBoost, multi-scale training
(shorter side 400 to 1400, longer at most 1600), a longer schedule, soft-NMS, a layer of global self-attention behind
the last stage, and weights of ImageNet-22K; by those of Soft Teacher (no. 90) it has the semantic branch. HTC's own
settings are those of its release in mmdetection.

Not here: InstaBoost (Fang et al. 2019), which pastes objects to other places of their image and fills the holes. Its
only package, instaboostfast 0.1.2, is source alone with a distutils script, and draws from Python's and NumPy's global
generators, so that neither seeds nor resumed runs would hold with it; what it is worth to Swin-L nobody tells.

Ours, where nothing is stated: windows of 7, as all public recipes of Swin detectors have; box heads of four
convolutions and a layer with a GIoU loss, as in the recipes that were published for Swin and CBNet; how the global
attention is built (`repro.modeling.swin`).
"""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool

from repro.meta_arch.htc import HTC
from repro.modeling.htc import BoxHeads, HTCROIHeads, MaskHeads, RegionFeatures, SemanticHead, StageSampler
from repro.modeling.suppression import SoftNMS
from repro.modeling.swin import Swin

from .encoder import pixels
from .rpn import rpn

backbone = L(Swin)(
    embed_dim=192,
    depths=[2, 2, 18, 2],
    num_heads=[6, 12, 24, 48],
    window_size=7,
    drop_path_rate=0.2,  # CBNet's Swin-L
    out_features=["res2", "res3", "res4", "res5"],
    out_norms=True,
    global_attention=True,
    grad_checkpointing=True,  # a GPU of 32 GB holds two images so
)
rpn.post_nms_topk = [2000, 1000]
rpn.anchor_boundary_thresh = 0.0  # anchors that cross the border say nothing
rpn.smooth_l1_beta = 1 / 9
model = L(HTC)(
    backbone=L(FPN)(
        bottom_up=backbone,
        in_features=["res2", "res3", "res4", "res5"],
        out_channels=256,
        norm="",
        top_block=L(LastLevelMaxPool)(),
    ),
    proposal_generator=rpn,
    roi_heads=L(HTCROIHeads)(
        box=L(BoxHeads)(
            num_classes=80,
            input_shape=L(ShapeSpec)(channels=256, height=7, width=7),
            fc_dims=[1024],
            conv_dims=[256, 256, 256, 256],
            conv_norm="BN",  # over all processes, by train.sync_bn
            stds=[[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]],
            box_loss="giou",
            box_weight=10.0,
        ),
        mask=L(MaskHeads)(num_stages=3, num_classes=80, channels=256, num_convs=4),
        regions=L(RegionFeatures)(
            in_features=["p2", "p3", "p4", "p5"],
            strides=[4, 8, 16, 32],
            box_resolution=7,
            mask_resolution=14,
            canonical_box_size=224,
            semantic_stride=8,
        ),
        sampler=L(StageSampler)(num_classes=80, ious=[0.5, 0.6, 0.7], batch_size_per_image=512, positive_fraction=0.25),
        stage_weights=[1.0, 0.5, 0.25],
        suppress=L(SoftNMS)(method="linear", iou=0.5, sigma=0.5, min_score=0.001),  # ours: which kind is not stated
        test_score_thresh=0.001,
        test_topk_per_image=100,
    ),
    semantic_head=L(SemanticHead)(
        in_features=["p2", "p3", "p4", "p5", "p6"],
        fused_feature="p3",
        num_classes=183,  # COCO-stuff
        channels=256,
        num_convs=4,
        loss_weight=0.2,
    ),
    pixel_mean=pixels.mean,
    pixel_std=pixels.std,
    input_format="RGB",
)
init = {"encoder": {"into": {"backbone.bottom_up": ["norms", "global_attention"]}}}  # no published weights have these

# Ours: as small as one thread of a CPU needs. The generated images show eight classes, 12 to 100 pixels wide.
swin_scales = {
    "small": {
        "model.backbone.embed_dim": 16,
        "model.backbone.depths": [1, 1, 2, 1],
        "model.backbone.num_heads": [1, 2, 4, 8],
        "model.backbone.window_size": 4,
        "model.backbone.drop_path_rate": 0.0,
        "model.backbone.grad_checkpointing": False,
    }
}
scales = {
    "small": {
        "model.backbone.out_channels": 48,
        "model.proposal_generator.head.in_channels": 48,
        "model.proposal_generator.anchor_generator.sizes": [[8], [16], [32], [64], [128]],
        "model.proposal_generator.batch_size_per_image": 64,
        "model.proposal_generator.pre_nms_topk": [200, 100],
        "model.proposal_generator.post_nms_topk": [100, 100],
        "model.roi_heads.box.num_classes": 8,
        "model.roi_heads.box.input_shape.channels": 48,
        "model.roi_heads.box.fc_dims": [128],
        "model.roi_heads.box.conv_dims": [48, 48],
        "model.roi_heads.mask.num_classes": 8,
        "model.roi_heads.mask.channels": 48,
        "model.roi_heads.mask.num_convs": 2,
        "model.roi_heads.regions.canonical_box_size": 56,
        "model.roi_heads.sampler.num_classes": 8,
        "model.roi_heads.sampler.batch_size_per_image": 64,
        "model.semantic_head.num_classes": 9,  # and the background
        "model.semantic_head.channels": 48,
        "model.semantic_head.num_convs": 1,
        **{key.replace("backbone", "backbone.bottom_up"): value for key, value in swin_scales["small"].items()},
    },
}
