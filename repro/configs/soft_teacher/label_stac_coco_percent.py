"""Pseudo boxes for the images that a share of the COCO labels leaves over, as STAC makes them (Sohn et al. 2020).

Images keep their size, other than in evaluation; boxes above 0.05 are kept.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import without
from repro.data.augmentations.geometry import Unchanged

from .label_coco_percent import data, inference, label, run
from .label_coco_percent import scales as sized_scales

data.mapper.augmentation = L(Unchanged)()
data.mapper.channels = "RGB"

scales = without(sized_scales, *(f"data.mapper.augmentation.{key}" for key in ("short_edge", "max_size")))
