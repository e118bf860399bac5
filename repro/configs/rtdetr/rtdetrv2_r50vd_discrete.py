"""RT-DETRv2-L, fine-tuned to read each point at one pixel. Lv et al. 2024, Sec. 2.1; Table 4, 52.9 AP.

Starts from the average weights of `rtdetrv2_r50vd.py`; the layers that predict offsets stay as they are.
"""

from repro.configs.scales import combine

from .rtdetrv2_r50vd import data, model, optimizer, run, scales, train

init = {"train": {"drop": []}}
model.transformer.decoder.mode = "discrete"
train.epochs = 12
data.policies.released.late_epochs = 2

scales = combine(
    scales,
    {
        "small": {"train.iterations": 1000},
        "tiny": {"train.iterations": 150},
        "smoke": {"train.iterations": 2},
    },
)
