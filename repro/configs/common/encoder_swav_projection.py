"""SwAV's ResNet-50 with its projection head, for DETReg's other targets (``model.target_encoder``)."""

from repro.configs.scales import combine

from .encoder_swav import data, encoder, model, optimizer, run, train
from .encoder_swav import scales as swav_scales

encoder.family = "swav_projection"
encoder.projection = True  # keep it

scales = combine(swav_scales)
