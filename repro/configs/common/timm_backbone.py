"""One of timm's networks as a detector's backbone and as a target encoder, in place of a ResNet of Detectron2's.

``encoder_timm.py`` gets its weights. The network here is timm's ResNet-50; any other that has maps of strides 8, 16 and
32 does, with its own channels in the detector's neck.
"""

from detectron2.config import LazyCall as L

from repro.modeling.timm_backbone import TimmBackbone

backbone = L(TimmBackbone)(
    name="resnet50.a1_in1k",
    out_features=["res3", "res4", "res5"],
    norm="FrozenBN",
    freeze=["conv1.", "bn1.", "layer1."],  # as freeze_at=2 does with Detectron2's
    options={},  # what else timm's function for the network takes
)
target_encoder = L(TimmBackbone)(name=backbone.name, out_features=["res3"], norm="FrozenBN", freeze=[], options={})

small = "test_resnet"  # timm's smallest, of 0.4 M parameters
small_channels = [48, 192, 96]
