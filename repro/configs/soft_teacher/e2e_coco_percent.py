"""The same with the student of the step before as its teacher: Xu et al. 2021, Table 5, "E2E".

Expect 30.0 AP with 10 % of the labels. That the teacher is a copy in each step is our reading: an average is what the
table's next row adds.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import without
from repro.layers.ema import Constant

from .e2e_ema_coco_percent import data, init, model, optimizer, run, train
from .e2e_ema_coco_percent import scales as averaged_scales

model.momentum = L(Constant)(value=0.0)

scales = without(averaged_scales, "model.momentum.final")
