"""SwAV's ResNet-50 after 400 epochs: the weaker target encoder of DETReg's supplement.

Of two published ones this is that with multi-crop; which one the paper took is not stated.
"""

from repro.configs.scales import combine

from .encoder_swav import data, encoder, model, optimizer, run, train
from .encoder_swav import scales as full_scales

encoder.url = "https://dl.fbaipublicfiles.com/deepcluster/swav_400ep_pretrain.pth.tar"

scales = combine(full_scales, {"small": {"train.iterations": 400}, "tiny": {"train.iterations": 125}})
