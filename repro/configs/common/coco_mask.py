"""COCO train2017 with masks and COCO-stuff's maps (``labelled``), as HTC++ is trained; see `htc_swin_l.py`.

The maps are the PNG files of ``stuffthingmaps_trainval2017.zip`` (Caesar et al. 2018).
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.data.augmentations.detr import DetrAugmentation
from repro.data.mapper import TrainMapper
from repro.data.pixel_labels import PixelLabels, SemanticMaps

from .coco import images
from .coco import scales as coco_scales

labelled = dict(
    **images,
    mapper=L(TrainMapper)(
        augmentation=L(DetrAugmentation)(
            short_edges=list(range(400, 1401, 10)),
            max_size=1600,
            crop_short_edges=[400, 500, 600],  # never cropped
            crop_size=[384, 600],
            crop=0.0,
            flip=0.5,
        ),
        channels="RGB",
        cache_images=False,
        pixels=L(PixelLabels)(
            masks=True,
            semantic=L(SemanticMaps)(
                folder="$DETECTRON2_DATASETS/coco/stuffthingmaps/train2017",
                background=255,  # not used with files
            ),
        ),
    ),
    total_batch_size=16,
    workers=4,
)

# Ours: generated images have masks, of which maps are drawn; the background is a class of its own.
scales = combine(
    coco_scales,
    {"small": {"data.mapper.pixels.semantic.folder": None, "data.mapper.pixels.semantic.background": 8}},
)
