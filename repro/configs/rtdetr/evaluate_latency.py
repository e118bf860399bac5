"""Frames a second, one image of 640 × 640 at a time, post-processing included (Lv et al. 2024, Table 2).

Printed for a T4 with TensorRT in half precision; elsewhere the first library that is there serves, and the record says
which.
"""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.evaluation import latency

from ..common.run import run
from ..common.run import scales as run_scales

evaluators = dict(
    latency=L(latency.Evaluator)(
        backends=["tensorrt", "onnxruntime", "eager"],
        precision="fp16",
        size=[640, 640],
        warmup=10,
        repeats=50,  # of an X on one core of a CPU these take minutes; a median needs no more
    )
)

scales = combine(
    run_scales,
    {
        "small": {"evaluators.latency.size": [96, 96]},
        "tiny": {"evaluators.latency.size": [64, 64]},
        "smoke": {"evaluators.latency.backends": ["eager"], "evaluators.latency.repeats": 3},
    },
)
