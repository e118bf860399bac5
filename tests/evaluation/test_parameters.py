"""The size of a model against what the released code counts (parameters to the unit, operations to a thousandth)."""

import pytest
import torch
from torch import nn

from repro.engine import config
from repro.errors import ExportError
from repro.evaluation.parameters import Evaluator, count


def test_the_smallest_model_is_as_large_as_the_released_one():
    recipe = config.resolve("rtdetr/rtdetrv2_r18vd.py").recipe
    found = Evaluator([640, 640]).measure(config.build(recipe["model"]), torch.device("cpu")).metrics
    assert found["millions"] == 20.184464
    assert found["fused"] == 19.983248
    assert found["points"] == 86_400  # Table 3
    tokens, queries, dim = 80 * 80 + 40 * 40 + 20 * 20, 300, 256
    spared = 2 * (tokens - queries) * (2 * dim * dim + 4 * dim) / 1e9  # boxes of tokens that are not selected
    assert found["gflops"] == pytest.approx(60.06 - spared, rel=1e-3)


def test_frozen_normalisation_has_no_parameters():
    recipe = config.resolve("rtdetr/rtdetrv2_r50vd_m.py").recipe
    assert count(config.build(recipe["model"])) == 36_593_772


def test_what_is_no_detector_of_this_kind_is_refused():
    with pytest.raises(ExportError, match="Linear"):
        Evaluator([64, 64]).measure(nn.Linear(1, 1), torch.device("cpu"))
