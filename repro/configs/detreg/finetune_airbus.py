"""Deformable DETR on Airbus Ship Detection, for 100 epochs: Bar et al. 2022, Sec. 4.1, Table 2.

Expect 81.0 AP from DETReg's weights and 78.3 from SwAV's backbone, but on the authors' split, which was not published.
Batch and rate are not stated: those for VOC.
"""

from repro.configs.scales import combine, without

from .finetune_coco_percent import data, init, model, optimizer, run, train
from .finetune_coco_percent import scales as coco_scales

model.num_classes = 1
data.dataset = "airbus_train"
data.percent = 100
data.total_batch_size = 32
train.epochs = 100  # Sec. 4.1
train.lr_drops = [80]

scales = combine(
    without(coco_scales, "model.num_classes"),
    {size: {"data.dataset": f"ships_{size}_train"} for size in ("small", "tiny", "smoke")},
)
