"""Soft Teacher around HTC++ on Swin-L, with all of COCO's labels and unlabeled2017: Xu et al. 2021, Tables 1 and 4.

Expect 59.1 AP of boxes and 51.0 of masks at one scale, 59.9 and 51.9 at several. All that the authors say of it is that
unlabelled images skip the loss of the semantic branch (their code's tracker, no. 90). So this is ours: how the method
meets a cascade and masks (`repro.meta_arch.semi.cascade`), the weight of unlabelled images and their number (those of
the published setting with all labels), as many steps as the supervised detector has, and no start from its weights.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, moved
from repro.layers.ema import Rising
from repro.meta_arch.semi.cascade import Cascade
from repro.meta_arch.soft_teacher import SoftTeacher
from repro.modeling.soft_weights import PooledLosses

from ..common.coco_mask import labelled
from ..common.coco_mask import scales as mask_scales
from ..common.htc_swin_l import model as detector
from ..common.htc_swin_l import scales as detector_scales
from ..common.htc_train import optimizer, train
from ..common.htc_train import scales as train_scales
from ..common.run import run
from ..common.run import scales as run_scales
from ..common.semi import full_scales, semi_scales
from ..common.semi import semi as data
from ..common.soft_teacher_r50 import by_variance

model = L(SoftTeacher)(
    detector=detector,
    method=L(Cascade)(
        score_threshold=0.5,
        rpn_threshold=0.9,
        cls_threshold=0.9,
        regression=by_variance,
        indicator="BG-T",
        losses=L(PooledLosses)(),
        mask_threshold=0.5,
    ),
    momentum=L(Rising)(final=0.999, warmup=0),
    unsupervised_weight=2.0,
    burn_in=0,
    buffers="copy",  # the statistics of the box heads' batch norm, which the released code has none of
    inference_on="student",
    teacher_mode="eval",  # in training a Swin would drop paths
)
init = {"encoder": {"into": {"student.backbone.bottom_up": ["norms", "global_attention"]}}}

data.percent = 100
data.unlabelled.dataset = "coco_2017_unlabeled"
data.mapper.channels = "RGB"
data.mapper.pixels = labelled.mapper.pixels
data.unlabelled.mapper.channels = "RGB"
for augmentation in (data.mapper.augmentation, data.unlabelled.mapper.weak, data.unlabelled.mapper.strong):
    augmentation.short_edges = [400, 1400]
    augmentation.max_size = 1600
del augmentation, by_variance, detector, labelled  # parts of the above: what a recipe names is its content
data.ratio = [1, 1]
data.share_size = 4
data.total_batch_size = 32  # half of them labelled, as many as supervised
train.epochs = 72  # of 32 images: as many steps as supervised
train.lr_drops = [54, 66]

pixel_scales = {
    scale: {key: value for key, value in values.items() if ".pixels." in key} for scale, values in mask_scales.items()
}
scales = combine(
    run_scales,
    train_scales,
    moved(detector_scales, "model", "model.detector"),
    semi_scales,
    full_scales,
    pixel_scales,
    {
        "small": {"data.total_batch_size": 8, "model.momentum.final": 0.99, "model.burn_in": 1300},
        "tiny": {"model.burn_in": 330},
        "smoke": {"data.percent": 100, "data.total_batch_size": 4, "model.burn_in": 0},
    },
)
