"""Soft Teacher whose unlabelled images lose their weight in the end: over the last 10,000 steps of 180,000, linearly.

As the supplement of Xu et al. 2021 is said to have it, of the share of labelled images; an author says that it is the
influence of the unlabelled ones, that it does not raise the final score, and that the released weights were trained
without (their code's tracker, no. 49). No number of it is in print.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.meta_arch.soft_teacher import LinearDecay

from .soft_teacher_coco_percent import data, init, model, optimizer, run, train
from .soft_teacher_coco_percent import scales as method_scales

model.decay = L(LinearDecay)(iterations=180_000, last=10_000)

# Ours: the same eighteenth of as many steps as there are.
scales = combine(
    method_scales,
    {
        "small": {"model.decay.iterations": 4000, "model.decay.last": 222},
        "tiny": {"model.decay.iterations": 600, "model.decay.last": 33},
        "smoke": {"model.decay.iterations": 2, "model.decay.last": 1},
    },
)
