"""SGD and its schedule as Soft Teacher trains (Xu et al. 2021; authors' settings, mmdetection's defaults)."""

from detectron2.config import LazyCall as L

from repro.engine.optimizer import sgd

optimizer = L(sgd)(lr=0.01, momentum=0.9, weight_decay=1e-4)
train = dict(
    epochs=180,  # in units of 1,000 steps: published in steps, whatever the number of images
    lr_drops=[120, 160],
    iterations=180_000,
    warmup_iterations=500,
    warmup_start=0.001,
    clip_norm=None,
    amp=True,  # with a dynamic scale
    ema=None,
    checkpoint_period=1000,  # ours
    log_period=50,
)

# Ours: a run that is cut short needs the rate to fall, or its score hangs on its last few steps.
scales = {
    "small": {
        "optimizer.lr": 0.02,
        "train.iterations": 2000,
        "train.clip_norm": 5.0,  # four times the unlabelled losses, at twice the rate
        "train.warmup_iterations": 50,
        "train.checkpoint_period": 200,
    },
    "tiny": {"train.iterations": 600},
    "smoke": {"train.iterations": 2, "train.log_period": 1},
}
