"""Deformable DETR on a ResNet-50 (Zhu et al. 2021, Sec. 5 and appendix A.4), as in DETReg: no refinement."""

from detectron2.config import LazyCall as L

from repro.meta_arch.deformable_detr import DeformableDETR
from repro.modeling.backbone import resnet
from repro.modeling.criterion import SetCriterion
from repro.modeling.matching import HungarianMatcher
from repro.modeling.necks import ChannelMapper
from repro.modeling.transformer import DeformableDecoder, DeformableEncoder, DeformableTransformer, LearnedQueries

model = L(DeformableDETR)(
    backbone=L(resnet)(
        depth=50,
        width=64,
        norm="FrozenBN",  # authors' settings; statistics come with the encoder's weights
        freeze_at=2,  # stem and res2 stay as they are: authors' settings
        out_features=["res3", "res4", "res5"],
        stride_in_1x1=False,  # torchvision's and SwAV's variant
    ),
    neck=L(ChannelMapper)(
        in_features=["res3", "res4", "res5"],
        in_channels=[512, 1024, 2048],
        out_channels=256,
        num_levels=4,
        num_groups=32,
    ),
    transformer=L(DeformableTransformer)(
        encoder=L(DeformableEncoder)(
            embed_dim=256, num_layers=6, num_heads=8, num_levels=4, num_points=4, ffn_dim=1024, dropout=0.1
        ),
        decoder=L(DeformableDecoder)(
            embed_dim=256, num_layers=6, num_heads=8, num_levels=4, num_points=4, ffn_dim=1024, dropout=0.1
        ),
        queries=L(LearnedQueries)(num_queries=300, embed_dim=256),
    ),
    criterion=L(SetCriterion)(
        matcher=L(HungarianMatcher)(cost_class=2.0, cost_bbox=5.0, cost_giou=2.0, alpha=0.25, gamma=2.0),
        weight_class=2.0,
        weight_bbox=5.0,
        weight_giou=2.0,
        alpha=0.25,
        gamma=2.0,
    ),
    num_classes=80,  # COCO; contiguous ids, where the authors' code has 91 with gaps
    pixel_mean=[123.675, 116.28, 103.53],  # RGB, ImageNet
    pixel_std=[58.395, 57.12, 57.375],
    aux_loss=True,
    test_topk=100,
)

# Ours: as small as one thread of a CPU needs. The generated images show eight classes, and at most five objects each.
scales = {
    "small": {
        "model.backbone.depth": 18,
        "model.backbone.width": 16,
        "model.backbone.freeze_at": 0,  # weights that were trained for seconds are no reason to stay as they are
        "model.neck.in_channels": [32, 64, 128],
        "model.neck.out_channels": 64,
        "model.neck.num_levels": 3,
        "model.neck.num_groups": 8,
        "model.transformer.encoder.embed_dim": 64,
        "model.transformer.encoder.num_layers": 2,
        "model.transformer.encoder.num_heads": 4,
        "model.transformer.encoder.num_levels": 3,
        "model.transformer.encoder.ffn_dim": 128,
        "model.transformer.encoder.dropout": 0.0,
        "model.transformer.decoder.embed_dim": 64,
        "model.transformer.decoder.num_layers": 3,
        "model.transformer.decoder.num_heads": 4,
        "model.transformer.decoder.num_levels": 3,
        "model.transformer.decoder.ffn_dim": 128,
        "model.transformer.decoder.dropout": 0.0,
        "model.transformer.queries.num_queries": 30,
        "model.transformer.queries.embed_dim": 64,
        "model.num_classes": 8,
    },
    "tiny": {"model.transformer.encoder.num_layers": 1, "model.transformer.decoder.num_layers": 2},
}
