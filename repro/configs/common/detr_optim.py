"""AdamW as DETR uses it (Carion et al. 2020, Sec. 4; authors' settings)."""

from detectron2.config import LazyCall as L

from repro.engine.optimizer import adamw

optimizer = L(adamw)(lr=1e-4, weight_decay=1e-4, lr_factors={"backbone": 0.1})

# Ours: a small transformer takes a larger rate, and a backbone that was trained for seconds has to go on learning.
scales = {"small": {"optimizer.lr": 5e-4, "optimizer.lr_factors": {"backbone": 1.0}}}
