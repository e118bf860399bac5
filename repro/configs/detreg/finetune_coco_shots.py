"""Deformable DETR on k boxes of each of COCO's 80 classes: Bar et al. 2022, Sec. 4.3, Tables 3 and 4.

The draws are TFA's; the stage's seed says which. Everything is trained (`ft-full`). Starts from the base classes
(Table 3) or straight from pretraining or a backbone (Table 4); the class head starts anew in each case, as the authors'
loader has it. Their few-shot code was not published: batch and rate are those for COCO.
"""

from repro.configs.scales import combine

from ..common.fewshot import train_scales
from .finetune_coco_percent import data, init, model, optimizer, run, train
from .finetune_coco_percent import scales as coco_scales

init.finetune = {"drop": ["class_embed"]}

data.dataset = "coco_fewshot_train"
data.percent = 100
data.shots = 10  # columns of the table set this
data.one_box_a_record = False  # ours; unlabelled objects of an image count as background
data.total_batch_size = 32
train.epochs = 150  # authors' README, after the base classes; 1,000 without
train.lr_drops = [140]

scales = combine(coco_scales, train_scales)
