"""Faster R-CNN R50-FPN on all labels of COCO train2017: Xu et al. 2021, Tables 3 and 4, the supervised baseline.

Expect 40.9 AP. The schedule is that of the released code: 720k steps of 16 images, 98 epochs.
"""

from repro.configs.scales import combine

from .supervised_coco_percent import data, init, model, optimizer, run, train
from .supervised_coco_percent import scales as percent_scales

data.percent = 100
data.total_batch_size = 16
optimizer.lr = 0.02
train.epochs = 720  # in units of 1,000 steps
train.lr_drops = [480, 640]
train.iterations = 720_000

scales = combine(percent_scales)
