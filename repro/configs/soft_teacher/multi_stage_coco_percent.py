"""A share of the COCO labels, and offline pseudo boxes on the other images: Xu et al. 2021, Table 5, "Multi-Stage".

Expect 28.7 AP with 10 % of the labels. Of the second stage it is known that boxes above 0.9 are trained with, under the
student's strong augmentation (the authors in the code's tracker, no. 11 and 143; their unused `pseudo_coco.py`, which
drops images without such a box). Weight and mix are those of the method itself, by our choice.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, moved
from repro.data.pseudo_labels import Above
from repro.data.two_views import PseudoLabelMapper
from repro.meta_arch.pseudo_labelled import PseudoLabelled

from ..common.faster_rcnn_r50_fpn import model as detector
from ..common.faster_rcnn_r50_fpn import scales as detector_scales
from ..common.run import run
from ..common.run import scales as run_scales
from ..common.semi import offline_scales
from ..common.semi import semi as data
from ..common.sgd import optimizer, train
from ..common.sgd import scales as optimizer_scales

model = L(PseudoLabelled)(detector=detector, labelled_weight=1.0, pseudo_weight=4.0)
init = {"encoder": {"into": {"detector.backbone.bottom_up": []}}}
del detector

data.percent = 1  # columns of the table set this
data.unlabelled.choose = L(Above)(threshold=0.9)
data.unlabelled.mapper = L(PseudoLabelMapper)(
    augmentation=data.unlabelled.mapper.strong, channels="BGR", cache_images=False
)

# Ours: as the method at these scales.
scales = combine(
    run_scales,
    optimizer_scales,
    moved(detector_scales, "model", "model.detector"),
    offline_scales,
    {
        "small": {
            "data.ratio": [1, 1],
            "data.share_size": 4,
            "data.total_batch_size": 8,
            "?data.unlabelled.choose.threshold": 0.7,
            "model.pseudo_weight": 1.0,
            "train.iterations": 4000,
            "train.warmup_iterations": 100,
        },
        "tiny": {"?data.unlabelled.choose.threshold": 0.9, "train.iterations": 600},
        "smoke": {
            "data.total_batch_size": 4,
            "?data.unlabelled.choose.threshold": 0.0,
            "train.iterations": 2,
        },
    },
)
