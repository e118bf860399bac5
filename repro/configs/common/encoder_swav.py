"""SwAV's ResNet-50, 800 epochs (Caron et al. 2020): backbone and target encoder of DETReg (Sec. 4)."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.engine.pretext import MultiCrop, SwAV

from .encoder import backbone, data, optimizer, pixels, train
from .encoder import scales as encoder_scales
from .run import run
from .run import scales as run_scales

encoder = dict(
    source="published",
    url="https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
    sha256=None,  # none was published; the record holds that of what was loaded
    key=None,  # the file is the state dictionary itself
    family="swav",
)
model = L(SwAV)(
    backbone=backbone,
    num_prototypes=3000,  # the paper's
    dim=128,
    temperature=0.1,
    epsilon=0.05,
    pixel_mean=pixels.mean,
    pixel_std=pixels.std,
)
data.mapper = L(MultiCrop)(
    sizes=[224, 224, 96, 96, 96, 96, 96, 96],  # the paper's
    areas=[[0.14, 1.0], [0.14, 1.0], *[[0.05, 0.14]] * 6],
)

scales = combine(
    run_scales,
    encoder_scales,
    {
        "small": {
            "model.num_prototypes": 32,
            "model.dim": 64,
            "model.epsilon": 0.02,  # ours: with the paper's, few and equal features never leave the uniform assignment
            "data.mapper.sizes": [48, 48, 32, 32],
            "data.mapper.areas": [[0.14, 1.0], [0.14, 1.0], [0.05, 0.14], [0.05, 0.14]],
        }
    },
)
