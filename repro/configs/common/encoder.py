"""What the recipes of backbone weights share: a ResNet-50 that can be trained, and how a small scale trains it."""

from detectron2.config import LazyCall as L

from repro.engine.optimizer import adamw
from repro.modeling.backbone import resnet

backbone = L(resnet)(
    depth=50, width=64, norm="BN", freeze_at=0, out_features=["res3", "res4", "res5"], stride_in_1x1=False
)
data = dict(dataset=None, percent=100, skip_bad=False, mapper=None, total_batch_size=64, workers=0)
optimizer = L(adamw)(lr=1e-3, weight_decay=1e-4, lr_factors={})
train = dict(
    epochs=1,
    lr_drops=[],
    iterations=None,
    clip_norm=None,
    amp=False,
    ema=None,
    checkpoint_period=100,
    log_period=20,
)
pixels = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])  # RGB, as the detectors normalise

# Published weights at paper scale; below it, ours, trained on the images of that scale.
scales = {
    "small": {
        "encoder.source": "trained",
        "model.backbone.depth": 18,
        "model.backbone.width": 16,
        "data.dataset": "shapes_small_train",
        "train.lr_drops": [0.8],
        "train.iterations": 800,
    },
    "tiny": {"data.dataset": "shapes_tiny_train", "data.total_batch_size": 32, "train.iterations": 250},
    "smoke": {
        "data.dataset": "shapes_smoke_train",
        "data.total_batch_size": 8,
        "train.iterations": 2,
        "train.log_period": 1,
    },
}
