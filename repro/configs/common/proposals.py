"""Ways to propose regions, each a recipe's section ``propose``."""

from repro.configs.scales import combine

from .coco import dataset_scales
from .run import scales as run_scales

# As DETReg's published code has it, which is not in the paper: every image squashed to 128×128, its RGB pixels handed
# to what expects BGR, and boxes ranked by U(0, 1) × level. (The pretraining draws that order anew in every epoch.)
authors = dict(
    method="selective_search",
    engine="native",  # ours; "opencv" has neither levels nor an order that repeats
    size=128,
    mode="fast",  # Sec. 3.1
    channel_order="RGB",
    max_boxes=None,
    ranking="level",
    workers=32,
    shards=None,  # of 256 images each
)

# What the paper describes: the image as it is, its channels in the right order.
clean = authors | dict(size=None, channel_order="BGR")

edge_boxes = dict(
    method="edge_boxes",
    edges="structured",  # the published edges, from a model file to be downloaded
    size=None,  # the least area would be 6 % of 128×128
    max_boxes=1000,
    alpha=0.65,  # this and the rest: OpenCV's defaults, which the authors' code takes
    beta=0.75,
    min_score=0.01,
    min_box_area=1000,
    max_aspect_ratio=3,
    workers=32,
    shards=None,
)

random = dict(
    method="random",
    max_boxes=100,  # ours: as many as the evaluation looks at
    least=8,  # pixels; ours, after UP-DETR's patches
    workers=8,
    shards=None,
)

# Sets of one's own stay what they are through `repro.configs.scales.without`.
any_scales = combine(run_scales, dataset_scales, {"small": {"propose.workers": 1}})
scales = combine(any_scales, {"tiny": {"propose.mode": "single"}})  # a sixth of the work
edge_scales = combine(
    any_scales,
    {"small": {"propose.edges": "sobel", "propose.min_box_area": 100}},  # ours: no file to be had, smaller images
)
val_scales = {scale: {"data.dataset": f"shapes_{scale}_val"} for scale in dataset_scales}
