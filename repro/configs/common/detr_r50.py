"""DETR on a ResNet-50 (Carion et al. 2020, Sec. 4 and appendix A.4): post-norm, positions counted 1…n."""

from detectron2.config import LazyCall as L

from repro.meta_arch.detr import DETR
from repro.modeling.backbone import resnet
from repro.modeling.class_costs import SoftmaxCost
from repro.modeling.class_losses import CrossEntropyLoss
from repro.modeling.criterion import SetCriterion
from repro.modeling.matching import HungarianMatcher
from repro.modeling.necks import SingleMap
from repro.modeling.transformer import DETRDecoder, DETREncoder, DETRTransformer, LearnedSlots

model = L(DETR)(
    backbone=L(resnet)(
        depth=50,
        width=64,
        norm="FrozenBN",  # authors' settings; statistics come with the encoder's weights
        freeze_at=2,  # stem and res2 stay as they are: authors' settings
        out_features=["res5"],
        stride_in_1x1=False,  # torchvision's and SwAV's variant
        dilate_res5=False,  # true: the paper's DC5
    ),
    neck=L(SingleMap)(in_feature="res5", in_channels=2048, out_channels=256),
    transformer=L(DETRTransformer)(
        encoder=L(DETREncoder)(embed_dim=256, num_layers=6, num_heads=8, ffn_dim=2048, dropout=0.1, pre_norm=False),
        decoder=L(DETRDecoder)(embed_dim=256, num_layers=6, num_heads=8, ffn_dim=2048, dropout=0.1, pre_norm=False),
        queries=L(LearnedSlots)(num_queries=100, embed_dim=256),
        centred_position=False,
    ),
    criterion=L(SetCriterion)(
        matcher=L(HungarianMatcher)(cost_class=1.0, cost_bbox=5.0, cost_giou=2.0, class_cost=L(SoftmaxCost)()),
        weight_class=1.0,
        weight_bbox=5.0,
        weight_giou=2.0,
        class_loss=L(CrossEntropyLoss)(no_object_weight=0.1),
    ),
    num_classes=80,  # COCO; contiguous ids, where the authors' code has 91 with gaps
    pixel_mean=[123.675, 116.28, 103.53],  # RGB, ImageNet
    pixel_std=[58.395, 57.12, 57.375],
    aux_loss=True,
    test_topk=100,
)

# Ours: as small as one thread of a CPU needs. Images of 96 pixels have 3 × 3 places at stride 32, so we stop at res4.
scales = {
    "small": {
        "model.backbone.depth": 18,
        "model.backbone.width": 16,
        "model.backbone.freeze_at": 0,  # weights that were trained for seconds are no reason to stay as they are
        "model.backbone.out_features": ["res4"],
        "model.neck.in_feature": "res4",
        "model.neck.in_channels": 64,
        "model.neck.out_channels": 64,
        "model.transformer.encoder.embed_dim": 64,
        "model.transformer.encoder.num_layers": 2,
        "model.transformer.encoder.num_heads": 4,
        "model.transformer.encoder.ffn_dim": 128,
        "model.transformer.encoder.dropout": 0.0,
        "model.transformer.decoder.embed_dim": 64,
        "model.transformer.decoder.num_layers": 3,
        "model.transformer.decoder.num_heads": 4,
        "model.transformer.decoder.ffn_dim": 128,
        "model.transformer.decoder.dropout": 0.0,
        "model.transformer.queries.num_queries": 30,
        "model.transformer.queries.embed_dim": 64,
        "model.num_classes": 8,
    },
    "tiny": {"model.transformer.encoder.num_layers": 1, "model.transformer.decoder.num_layers": 2},
}
