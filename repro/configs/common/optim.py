"""AdamW as the DETR family uses it (Zhu et al. 2021, Sec. 5; values from the authors' settings)."""

from detectron2.config import LazyCall as L

from repro.engine.optimizer import adamw

optimizer = L(adamw)(
    lr=2e-4,
    weight_decay=1e-4,
    lr_factors={"backbone": 0.1, "reference_points|sampling_offsets": 0.1},
)

# Ours: a small transformer takes a larger rate, and a backbone that was trained for seconds has to go on learning.
scales = {
    "small": {
        "optimizer.lr": 1e-3,
        "optimizer.lr_factors": {"backbone": 1.0, "reference_points|sampling_offsets": 1.0},
    }
}
