"""DETReg's region proposals on COCO train2017: Selective Search, fast preset, on images of 128×128. Sec. 3.1."""

from repro.configs.scales import combine

from ..common.coco import dataset_scales
from ..common.coco import images as data
from ..common.run import run
from ..common.run import scales as run_scales

propose = dict(
    size=128,  # authors' code; not in the paper
    mode="fast",  # Sec. 3.1
    channel_order="RGB",  # what the authors' code hands to OpenCV, which expects BGR
    max_boxes=None,
    ranking="depth",  # ours: OpenCV's own order does not repeat
    workers=8,
)

scales = combine(
    run_scales,
    dataset_scales,
    {"small": {"propose.workers": 1}, "tiny": {"propose.mode": "single"}},  # seven times faster
)
