"""Parameter groups: who learns at which rate, and who not at all."""

import pytest
from torch import nn

from repro.engine.optimizer import adamw
from repro.errors import RecipeError


def model():
    parts = nn.ModuleDict({name: nn.Linear(2, 2) for name in ("backbone", "sampling_offsets", "head")})
    parts["backbone"].bias.requires_grad_(False)
    return parts


FACTORS = {"backbone": 0.1, "reference_points|sampling_offsets": 0.1}


def test_rates_of_the_groups():
    parts = model()
    optimizer = adamw(parts, lr=2e-4, weight_decay=1e-4, lr_factors=FACTORS)
    rates = {id(p): group["initial_lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates[id(parts["head"].weight)] == pytest.approx(2e-4)
    assert rates[id(parts["backbone"].weight)] == pytest.approx(2e-5)
    assert rates[id(parts["sampling_offsets"].bias)] == pytest.approx(2e-5)
    assert id(parts["backbone"].bias) not in rates
    assert all(group["weight_decay"] == 1e-4 for group in optimizer.param_groups)


def test_a_factor_of_zero_freezes():
    parts = model()
    optimizer = adamw(parts, lr=1.0, weight_decay=0.0, lr_factors={**FACTORS, "backbone": 0})
    assert not parts["backbone"].weight.requires_grad
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4


def test_a_pattern_that_finds_nothing_is_a_fault():
    with pytest.raises(RecipeError, match="bakbone"):
        adamw(model(), lr=1.0, weight_decay=0.0, lr_factors={"bakbone": 0.1})
