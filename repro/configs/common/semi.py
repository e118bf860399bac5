"""COCO train2017 for semi-supervised training: ``labelled`` for its supervised baseline, ``semi`` for both kinds.

The values are those of the released code of Soft Teacher (Xu et al. 2021) for its partially labelled setting. For the
fully labelled one a recipe sets ``percent`` to 100, ``unlabelled.dataset`` to "coco_2017_unlabeled", ``ratio`` to
[1, 1], ``share_size`` to 8 and ``total_batch_size`` to 64, and adds ``full_scales``.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine, moved, without
from repro.data.augmentations.soft_teacher import LabelledAugmentation, StrongAugmentation, WeakAugmentation
from repro.data.mapper import TrainMapper
from repro.data.two_views import TwoViewMapper

from .coco import dataset_scales

SIZES = dict(short_edges=[400, 1200], max_size=1333, flip=0.5)

drawn = dict(
    dataset="coco_2017_train",
    percent=10,  # columns of the tables set it
    split="stac",  # Sec. 4.1: "provided by" STAC; the seed is the fold. Or "uniform", or files: see split_files.py
    skip_bad=False,  # refuse a broken image or box instead of leaving it out
    min_side=32,  # pixels; smaller images are left out
    drop_empty=True,  # labelled images without an annotation too
)
share = dict(
    **drawn,
    mapper=L(TrainMapper)(augmentation=L(LabelledAugmentation)(**SIZES), channels="BGR", cache_images=False),
)
labelled = dict(
    **share,
    total_batch_size=8,  # images over all processes
    workers=4,  # a process
)
semi = dict(
    **share,
    unlabelled=dict(
        dataset="rest",  # what the share leaves over
        mapper=L(TwoViewMapper)(
            weak=L(WeakAugmentation)(**SIZES),
            strong=L(StrongAugmentation)(
                **SIZES,
                translate=0.1,
                rotate=30.0,
                shear=30.0,
                patches=[1, 5],  # the upper end is not drawn
                patch_size=[0.0, 0.2],
            ),
            channels="BGR",
            cache_images=False,
        ),
    ),
    ratio=[1, 4],  # labelled to unlabelled
    by_probability=True,  # against the authors' word, and in the released configuration
    share_size=5,  # images of a GPU: of one shape, and of both kinds
    aspect_groups=True,
    total_batch_size=40,
    workers=4,
)

# Ours: sizes about those of evaluation, as 400 … 1200 are about 800.
SMALL, TINY = {"short_edges": [56, 120], "max_size": 160}, {"short_edges": [40, 80], "max_size": 107}


def _sizes(augmentation: str, sizes: dict) -> dict:
    return {f"data.{augmentation}.{name}": value for name, value in sizes.items()}


scales = combine(
    dataset_scales,
    {
        "small": {
            **_sizes("mapper.augmentation", SMALL),
            "data.mapper.cache_images": True,
            "data.total_batch_size": 8,
            "data.workers": 0,
        },
        "tiny": _sizes("mapper.augmentation", TINY),
        "smoke": {"data.percent": 25, "data.total_batch_size": 2},
    },
)
semi_scales = combine(
    scales,
    {
        "small": {
            **_sizes("unlabelled.mapper.weak", SMALL),
            **_sizes("unlabelled.mapper.strong", SMALL),
            "data.unlabelled.mapper.cache_images": True,
            "data.total_batch_size": 10,
        },
        "tiny": {**_sizes("unlabelled.mapper.weak", TINY), **_sizes("unlabelled.mapper.strong", TINY)},
        "smoke": {"data.total_batch_size": 5},
    },
)
offline_scales = moved(
    without(semi_scales, *(f"data.unlabelled.mapper.weak.{name}" for name in SMALL)),
    "data.unlabelled.mapper.strong",
    "data.unlabelled.mapper.augmentation",
)
label_scales = combine(
    dataset_scales,
    {
        "small": {
            "data.mapper.augmentation.short_edge": 96,
            "data.mapper.augmentation.max_size": 128,
            "data.workers": 0,
        },
        "tiny": {"data.mapper.augmentation.short_edge": 64, "data.mapper.augmentation.max_size": 80},
        "smoke": {"data.percent": 25},
    },
)
full_scales = {scale: {"data.unlabelled.dataset": f"shapes_unlabelled_{scale}"} for scale in ("small", "tiny", "smoke")}
