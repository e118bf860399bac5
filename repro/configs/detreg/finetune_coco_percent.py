"""Deformable DETR on a share of the COCO labels: Bar et al. 2022, Sec. 4.4, Table 5.

Expect 14.6 AP with 1 % of the labels and 29.1 AP with 10 % from DETReg's weights; 11.8 and 27.8 from SwAV's backbone.
"""

from repro.configs.scales import combine

from ..common.coco import labelled as data
from ..common.coco import scales as data_scales
from ..common.deformable_detr_r50 import model
from ..common.deformable_detr_r50 import scales as model_scales
from ..common.optim import optimizer
from ..common.optim import scales as optimizer_scales
from ..common.run import run
from ..common.run import scales as run_scales
from ..common.train import scales as train_scales
from ..common.train import train

# The class head starts anew; the rest is taken over, queries and box head included (authors' code).
init = {
    "encoder": {"into": {"backbone": []}},
    "pretrain": {"drop": ["class_embed", "embedding_head", "target_encoder"]},
}

data.percent = 1  # columns of the table set this
data.total_batch_size = 24  # authors' settings
train.epochs = 2000  # authors' settings for 1 %; columns set it; "until convergence" in the paper
train.lr_drops = []  # authors' settings: no drop

scales = combine(
    run_scales,
    train_scales,
    optimizer_scales,
    model_scales,
    data_scales,
    {
        "small": {"train.iterations": 1000},
        "tiny": {"train.iterations": 500},
        "smoke": {"data.percent": 25},
    },
)
