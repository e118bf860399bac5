"""DETR on COCO train2017 with all labels: Bar et al. 2022, Sec. 4.1, Table 1.

150 epochs, pre-norm with positions from pixel centres, as DETReg's weights need it.
"""

from repro.configs.scales import combine, without

from ..common.coco import labelled as data
from ..common.coco import scales as data_scales
from ..common.detr_optim import optimizer
from ..common.detr_optim import scales as optimizer_scales
from ..common.detr_r50 import model
from ..common.detr_r50 import scales as model_scales
from ..common.run import run
from ..common.run import scales as run_scales
from ..common.train import scales as train_scales
from ..common.train import train

model.transformer.encoder.pre_norm = True
model.transformer.decoder.pre_norm = True
model.transformer.centred_position = True

# The class head starts anew; the rest is taken over, queries and box head included (authors' code).
init = {
    "encoder": {"into": {"backbone": []}},
    "pretrain": {"drop": ["class_embed", "embedding_head", "target_encoder"]},
}

data.total_batch_size = 32  # authors' default, 4 on each of 8 GPUs; not stated for this table
train.epochs = 150  # Table 1
train.lr_drops = [100]  # ours for 150 epochs, in the proportion of 200 in 300

scales = combine(
    run_scales,
    without(train_scales, "train.epochs", "train.lr_drops"),  # a run of 300 epochs is twice as long at every scale
    optimizer_scales,
    model_scales,
    data_scales,
    {
        "small": {"init.encoder.into": {"backbone": ["res5"]}, "train.iterations": 1000},
        "tiny": {"train.iterations": 500},
        "smoke": {"train.iterations": 2},
    },
)
