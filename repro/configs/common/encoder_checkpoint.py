"""A ResNet-50 out of any checkpoint: a table or a recipe says which (MoCo, DINO, Barlow Twins, one of your own, ...).

encoder: {config: common/encoder_checkpoint.py, encoder.url: /shared/weights/moco_v2_800ep.pth.tar,
          encoder.sha256: ..., encoder.key: state_dict, encoder.prefix: module.encoder_q.}
"""

from repro.configs.scales import combine

from .encoder_supervised import data, encoder, model, optimizer, run, train
from .encoder_supervised import scales as supervised_scales

encoder.url = ""  # a URL, or the absolute path of a file
encoder.sha256 = None  # of a file of your own the whole hash, by which the stage is named
encoder.key = None  # where in the file the state dictionary is; None if the file is one
encoder.prefix = ""  # what the names of the backbone's weights begin with
encoder.family = "torchvision_resnet"  # whose names come after it: a module of `repro.weights`

scales = combine(supervised_scales)
