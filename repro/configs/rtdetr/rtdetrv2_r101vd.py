"""RT-DETRv2-X: ResNet-101-vd, a wider encoder. Lv et al. 2024, Tables 1 and 2: 54.3 AP on val2017.

The released file of this row is most likely v1's (see the table's note), so no run is known to have given this number.
"""

from repro.configs.scales import combine

from .rtdetrv2_r50vd import data, init, model, optimizer, run, scales, train

model.backbone.depth = 101
model.neck.embed_dim = 384
model.neck.ffn_dim = 2048
model.transformer.in_channels = 384
optimizer.groups.backbone.lr = 1e-6

scales = combine(
    scales,
    {"small": {"model.neck.embed_dim": 96, "model.neck.ffn_dim": 256, "model.transformer.in_channels": 96}},
)
