"""STAC, the second stage: labelled images and offline pseudo boxes (Sohn et al. 2020); Xu et al. 2021, Table 2.

Expect 13.97, 24.38 and 28.64 AP with 1, 5 and 10 % of the labels. Starts from ImageNet again, not from the first stage
(the code's tracker, no. 7). A GPU has one image of each kind, and the loss is half of both losses' sum, that of pseudo
boxes twice (lambda_u of Eq. 1). All images with a detection take part: at least their best box is a label.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, moved
from repro.data.pseudo_labels import AboveOrBest
from repro.data.two_views import PseudoLabelMapper
from repro.meta_arch.pseudo_labelled import PseudoLabelled

from ..common.run import run
from ..common.run import scales as run_scales
from ..common.stac_r50 import labelled as data
from ..common.stac_r50 import model as detector
from ..common.stac_r50 import optimizer, size_scales, strong, train, train_scales

model = L(PseudoLabelled)(detector=detector, labelled_weight=0.5, pseudo_weight=1.0)
init = {"encoder": {"into": {"detector.backbone.bottom_up": []}}}

data.percent = 1  # columns of the table set this
strong.flip = 0.0
data.unlabelled = dict(
    dataset="rest",
    choose=L(AboveOrBest)(threshold=0.9),
    mapper=L(PseudoLabelMapper)(augmentation=strong, channels="RGB", cache_images=False),
)
data.ratio = [1, 1]
data.by_probability = False
data.share_size = 2
data.aspect_groups = False
data.total_batch_size = 16
del detector, strong

scales = combine(
    run_scales,
    moved(train_scales, "model", "model.detector"),
    size_scales("data.unlabelled.mapper.augmentation"),
    {
        "small": {"data.total_batch_size": 8, "data.unlabelled.mapper.cache_images": True},
        "smoke": {"data.total_batch_size": 4},
    },
)
