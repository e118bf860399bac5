"""What STAC trains with (Sohn et al. 2020): a Faster R-CNN on a ResNet-50 with FPN, its images and its schedule.

Values are those of google-research/ssl_detection (its README's command lines and `third_party/FasterRCNN`). Different
are the backbone's weights, torchvision's of RGB, not tensorpack's of BGR, both with the stride in the 3×3; gain and
shift of its norms, frozen with their statistics; and biases, which decay like weights.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.data.augmentations.soft_teacher import KeepRatioResize, WeakAugmentation
from repro.data.augmentations.stac import StrongAugmentation
from repro.data.mapper import InferenceMapper, TrainMapper
from repro.modeling.anchor_labels import MinimumMatcher

from .coco import dataset_scales
from .faster_rcnn_r50_fpn import model, scales
from .semi import drawn
from .sgd import optimizer, train
from .sgd import scales as optimizer_scales

model.backbone.bottom_up.stride_in_1x1 = False
model.pixel_mean = [123.675, 116.28, 103.53]
model.pixel_std = [58.395, 57.12, 57.375]
model.input_format = "RGB"
model.proposal_generator.post_nms_topk = [2000, 1000]
model.proposal_generator.smooth_l1_beta = 1 / 9
model.proposal_generator.anchor_boundary_thresh = 0  # pixels beyond the image that an anchor may reach
model.proposal_generator.anchor_matcher = L(MinimumMatcher)(thresholds=[0.3, 0.7], labels=[0, -1, 1], minimum=0.3)
model.roi_heads.batch_size_per_image = 64
model.roi_heads.box_pooler.sampling_ratio = 2

train.warmup_iterations = 1000
train.warmup_start = 0.33
train.amp = False

SIZES = dict(short_edges=[500, 800], max_size=1344)  # 1333 in multiples of 32
default = L(WeakAugmentation)(**SIZES, flip=0.5)
strong = L(StrongAugmentation)(
    **SIZES,
    flip=0.5,  # 0 with pseudo labels
    translate=0.1,
    degrees=30.0,
    inside=[0.05, 10.0],
    patches=[1, 5],
    patch_sizes=[0.0, 0.2],
)
labelled = dict(
    **drawn,
    mapper=L(TrainMapper)(augmentation=default, channels="RGB", cache_images=False),
    total_batch_size=8,
    workers=4,
)
evaluated = L(InferenceMapper)(augmentation=L(KeepRatioResize)(short_edge=800, max_size=1344), channels="RGB")

# Ours: as large beside the images of evaluation as at paper scale.
SMALL, TINY = {"short_edges": [60, 96], "max_size": 128}, {"short_edges": [40, 64], "max_size": 80}


def size_scales(*augmentations: str) -> dict:
    """Image sizes of these augmentations at smaller scales."""
    return {
        scale: {f"{name}.{key}": value for name in augmentations for key, value in sizes.items()}
        for scale, sizes in (("small", SMALL), ("tiny", TINY))
    }


train_scales = combine(
    optimizer_scales,
    scales,
    dataset_scales,
    size_scales("data.mapper.augmentation"),
    {
        "small": {
            "data.mapper.cache_images": True,
            "data.total_batch_size": 4,
            "data.workers": 0,
            "train.iterations": 4000,
            "train.warmup_iterations": 100,
        },
        "tiny": {"train.iterations": 600},
        "smoke": {"data.percent": 25, "data.total_batch_size": 2, "train.iterations": 2},
    },
)
