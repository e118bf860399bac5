"""DETReg's pretraining with SwAV's projections for targets instead of res3: an option of the authors' code.

Not in the paper; the authors found it to work less well. Needs an encoder stage that keeps the projection
(``common/encoder_swav_projection.py``).
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, without
from repro.modeling.projection import ProjectedEncoder

from .pretrain_coco import data, init, model, optimizer, run, train
from .pretrain_coco import scales as pretrain_scales

network = model.target_encoder
network.out_features = ["res5"]
model.target_encoder = L(ProjectedEncoder)(backbone=network, dim=128)
model.target_feature = "projection"
init.encoder.into = {"detector.backbone": ["projection"], "target_encoder": []}
del network  # it is in the model

scales = combine(
    without(pretrain_scales, "model.target_encoder.depth", "model.target_encoder.width"),
    {
        "small": {
            "model.target_encoder.backbone.depth": 18,
            "model.target_encoder.backbone.width": 16,
            "model.target_encoder.dim": 64,
        }
    },
)
