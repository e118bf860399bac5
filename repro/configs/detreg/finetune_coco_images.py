"""Deformable DETR on a few images of COCO train2017: Bar et al. 2022, Sec. 4.2, Figure 3.

The paper trains "for up to 2,000 epochs or until the validation performance stops improving"; batch and rate are not
stated. Those of the k % experiments are taken, and nothing is stopped early, since that would choose by the test set.
"""

from repro.configs.scales import combine

from .finetune_coco_percent import data, init, model, optimizer, run, train
from .finetune_coco_percent import scales as percent_scales

data.percent = 100
data.images = 256  # the figure's points set this, up to 1,024; drawn with the stage's seed

scales = combine(
    percent_scales,
    {
        "tiny": {"data.dataset": "shapes_small_train"},  # the smallest set that has 1,024 images
        "smoke": {"data.images": 4, "data.percent": 100},
    },
)
