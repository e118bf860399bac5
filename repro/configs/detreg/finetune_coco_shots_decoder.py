"""The decoder of Deformable DETR on k boxes of each class (`ft-decoder`): Bar et al. 2022, Sec. 4.3, Table 4.

"The decoder only"; which parameters that are was not published. Read here as decoder layers, queries, reference points
and the two heads: backbone, input projections, encoder and level embedding keep the weights they start from.
"""

from repro.configs.scales import combine

from .finetune_coco_shots import data, init, model, optimizer, run, train
from .finetune_coco_shots import scales as full_scales

frozen = "backbone|neck|encoder|level_embed"
optimizer.lr_factors = {frozen: 0, "reference_points|sampling_offsets": 0.1}  # 0 freezes

scales = combine(
    full_scales,
    {"small": {"optimizer.lr_factors": {frozen: 0, "reference_points|sampling_offsets": 1.0}}},
)
