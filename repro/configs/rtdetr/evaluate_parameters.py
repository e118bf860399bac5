"""Parameters, and arithmetic for one image of 640 × 640 (Lv et al. 2024, Table 2)."""

from detectron2.config import LazyCall as L

from repro.configs.scales import combine
from repro.evaluation import parameters

from ..common.run import run
from ..common.run import scales as run_scales

evaluators = dict(parameters=L(parameters.Evaluator)(size=[640, 640]))

scales = combine(
    run_scales,
    {"small": {"evaluators.parameters.size": [96, 96]}, "tiny": {"evaluators.parameters.size": [64, 64]}},
)
