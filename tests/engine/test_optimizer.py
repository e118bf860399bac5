"""Parameter groups: who learns at which rate, and who not at all."""

import pytest
from torch import nn

from repro.engine.optimizer import adamw, adamw_by_group, sgd
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


GROUPS = {
    "backbone": {"pattern": "^backbone", "lr": 1e-5, "weight_decay": 1e-4},
    "biases": {"pattern": r"^(?!backbone).*bias", "lr": 1e-3, "weight_decay": 0.0},
}


def test_groups_have_rates_and_decays_of_their_own():
    parts = model()
    optimizer = adamw_by_group(parts, lr=1e-4, weight_decay=1e-2, groups=GROUPS)
    found = {
        group["name"]: (group["initial_lr"], group["lr"], group["weight_decay"]) for group in optimizer.param_groups
    }
    assert found == {"backbone": (1e-5, 1e-5, 1e-4), "biases": (1e-3, 1e-3, 0.0), "rest": (1e-4, 1e-4, 1e-2)}
    members = [[id(p) for p in group["params"]] for group in optimizer.param_groups]
    weights = [id(parts[name].weight) for name in ("sampling_offsets", "head")]
    assert members == [
        [id(parts["backbone"].weight)],
        [id(parts[n].bias) for n in ("sampling_offsets", "head")],
        weights,
    ]


def test_a_parameter_in_two_groups_and_a_group_without_any_are_faults():
    twice = {"pattern": "head.bias", "lr": 1.0, "weight_decay": 0.0}
    frozen = {"pattern": "backbone.bias", "lr": 1.0, "weight_decay": 0.0}
    with pytest.raises(RecipeError, match=r"(?s)head.bias is in biases and in twice.*backbone.bias \(frozen\)"):
        adamw_by_group(model(), lr=1.0, weight_decay=0.0, groups={**GROUPS, "twice": twice, "frozen": frozen})


def test_sgd_takes_what_is_trained():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    made = sgd(model, lr=0.1, momentum=0.9, weight_decay=0.5)
    (group,) = made.param_groups
    assert group["params"] == list(model[1].parameters())
    assert (group["lr"], group["initial_lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.1, 0.9, 0.5)
