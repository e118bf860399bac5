"""COCO train2017: with its labels (``labelled``), or as a set of images only (``images``)."""

from detectron2.config import LazyCall as L

from repro.data.augmentations.detr import DetrAugmentation
from repro.data.mapper import TrainMapper

images = dict(
    dataset="coco_2017_train",
    percent=100,  # share of the images, drawn with the stage's seed
    skip_bad=False,  # refuse a broken image or box instead of leaving it out
)
labelled = dict(
    **images,
    mapper=L(TrainMapper)(
        augmentation=L(DetrAugmentation)(  # authors' settings, those of DETR (Carion et al. 2020, appendix A.4)
            short_edges=[480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800],
            max_size=1333,
            crop_short_edges=[400, 500, 600],
            crop_size=[384, 600],
            crop=0.5,
            flip=0.5,
        ),
        channels="RGB",
        cache_images=False,
    ),
    total_batch_size=32,  # images over all processes
    workers=4,  # a process
)

# Ours: the generated images, about as much smaller as the models are. At smoke, a quarter of 16 images.
dataset_scales = {
    "small": {"data.dataset": "shapes_small_train"},
    "tiny": {"data.dataset": "shapes_tiny_train"},
    "smoke": {"data.dataset": "shapes_smoke_train"},
}
scales = {
    "small": {
        "data.dataset": "shapes_small_train",
        "data.mapper.augmentation.short_edges": [80, 88, 96],
        "data.mapper.augmentation.max_size": 128,
        "data.mapper.augmentation.crop_short_edges": [96, 120],
        "data.mapper.augmentation.crop_size": [64, 96],
        "data.mapper.cache_images": True,
        "data.total_batch_size": 8,
        "data.workers": 0,
    },
    "tiny": {
        "data.dataset": "shapes_tiny_train",
        "data.mapper.augmentation.short_edges": [56, 64],
        "data.mapper.augmentation.max_size": 80,
        "data.mapper.augmentation.crop_short_edges": [64, 80],
        "data.mapper.augmentation.crop_size": [48, 64],
    },
    "smoke": {"data.dataset": "shapes_smoke_train", "data.total_batch_size": 4},
}
