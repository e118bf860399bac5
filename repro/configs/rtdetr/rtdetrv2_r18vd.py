"""RT-DETRv2-S: ResNet-18-vd, three decoder layers. Lv et al. 2024, Tables 1 to 3.

Expect 47.9 AP on val2017 (a later run by the authors gave 48.1); with 3, 2 and 1 points a level 47.8, 47.7 and 47.3.
"""

from repro.configs.scales import combine

from ..common.rtdetr import data, init, model, optimizer, train
from ..common.rtdetr import scales as rtdetr_scales
from ..common.run import run
from ..common.run import scales as run_scales

scales = combine(run_scales, rtdetr_scales, {"small": {"optimizer.groups.norm.lr": 5e-4}})
