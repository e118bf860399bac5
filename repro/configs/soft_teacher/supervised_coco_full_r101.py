"""The same on a ResNet-101: Xu et al. 2021, Table 4. Expect 43.8 AP."""

from repro.configs.scales import combine

from .supervised_coco_full import data, init, model, optimizer, run, train
from .supervised_coco_full import scales as r50_scales

model.backbone.bottom_up.depth = 101

scales = combine(r50_scales, {"small": {"model.backbone.bottom_up.depth": 34}})
