"""AdamW and the schedule of Swin's detectors (Liu et al. 2021, Sec. 4.2, "3x"; values of their published recipes)."""

from detectron2.config import LazyCall as L

from repro.engine.optimizer import adamw_by_group

from .train import train

optimizer = L(adamw_by_group)(
    lr=1e-4,
    weight_decay=0.05,
    groups={"norm": dict(pattern=r"norm|relative_position_bias_table", lr=1e-4, weight_decay=0.0)},
)
train.epochs = 36  # by Swin's README; HTC++'s own 72 are stated for Swin-B only
train.lr_drops = [27, 33]
train.warmup_iterations = 500
train.warmup_start = 0.001
train.clip_norm = None
train.amp = True
train.sync_bn = True

# Ours: a small network that was trained for seconds takes a larger rate.
scales = {
    "small": {
        "optimizer.lr": 1e-3,
        "optimizer.groups.norm.lr": 1e-3,
        "train.iterations": 2000,
        "train.warmup_iterations": 50,
        "train.checkpoint_period": 200,
    },
    "tiny": {"train.iterations": 500},
    "smoke": {"train.iterations": 2, "train.log_period": 1},
}
