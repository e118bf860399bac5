"""AdamW as the DETR family uses it (Zhu et al. 2021, Sec. 5; values from the authors' settings)."""

from detectron2.config import LazyCall as L

from repro.engine.optimizer import adamw

optimizer = L(adamw)(
    lr=2e-4,
    weight_decay=1e-4,
    lr_factors={"backbone": 0.1, "reference_points|sampling_offsets": 0.1},
)

# Ours: a small transformer takes a larger rate, and there is no time for a small one.
scales = {"small": {"optimizer.lr": 1e-3}}
