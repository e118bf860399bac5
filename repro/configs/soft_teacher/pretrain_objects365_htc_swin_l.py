"""HTC++ on Swin-L with the boxes of Objects365: what the rows with a star start from. Xu et al. 2021, Tables 1 and 4.

All that is stated is "pre-trained with Object365". So this is ours: which version (the first, which the cited paper
describes; for the other set ``data.dataset`` to objects365_v2_train), how long (12 times through it with drops after 8
and 11, the usual "1x"), and that it is trained as on COCO but for what has no labels there: mask heads learn nothing,
and there is no semantic branch. Fine-tuning takes all but the class scores and these (`soft_teacher_objects365_…`).
"""

from repro.configs.scales import combine, without

from ..common.coco_mask import labelled as data
from ..common.coco_mask import scales as data_scales
from ..common.htc_swin_l import init, model
from ..common.htc_swin_l import scales as model_scales
from ..common.htc_train import optimizer, train
from ..common.htc_train import scales as train_scales
from ..common.run import run
from ..common.run import scales as run_scales

CLASSES = 365

model.semantic_head = None
for part in (model.roi_heads.box, model.roi_heads.mask, model.roi_heads.sampler):
    part.num_classes = CLASSES
del part, CLASSES  # what a recipe names is its content
data.dataset = "objects365_v1_train"
data.mapper.pixels = None
train.epochs = 12
train.lr_drops = [8, 11]

SEMANTIC = [f"model.semantic_head.{name}" for name in ("num_classes", "channels", "num_convs")]
PIXELS = [f"data.mapper.pixels.semantic.{name}" for name in ("folder", "background")]
# Ours: generated images of finer classes, see `repro.data.datasets.shapes`.
scales = combine(
    run_scales,
    train_scales,
    without(model_scales, *SEMANTIC),
    without(data_scales, *PIXELS),
    {
        "small": {
            "data.dataset": "shapes_objects365_small",
            "model.roi_heads.box.num_classes": 16,
            "model.roi_heads.mask.num_classes": 16,
            "model.roi_heads.sampler.num_classes": 16,
        },
        "tiny": {"data.dataset": "shapes_objects365_tiny"},
        "smoke": {"data.dataset": "shapes_objects365_smoke", "data.percent": 25},
    },
)
del SEMANTIC, PIXELS
