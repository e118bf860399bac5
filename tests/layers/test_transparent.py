import pytest
import torch
from torch import nn

from repro.layers.transparent import make_transparent


class Wrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 1)
        make_transparent(self, "inner")


def test_the_child_is_saved_under_its_own_names():
    wrapper = Wrapper()
    inner = {name: value for name, value in wrapper.state_dict().items() if not name.startswith("head.")}
    assert inner.keys() == wrapper.inner.state_dict().keys()
    nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).load_state_dict(inner)


def test_it_is_found_again_within_a_larger_module():
    first, second = nn.ModuleList([Wrapper()]), nn.ModuleList([Wrapper()])
    assert "0.1.running_mean" in first.state_dict() and "0.head.weight" in first.state_dict()
    second.load_state_dict(first.state_dict())
    assert torch.equal(second[0].inner[0].weight, first[0].inner[0].weight)
    assert next(name for name, _ in second.named_parameters()) == "0.inner.0.weight"


def test_names_that_cannot_be_told_apart_are_refused():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = nn.ModuleDict({"head": nn.Linear(1, 1)}), nn.Linear(1, 1)
            make_transparent(self, "inner")

    with pytest.raises(ValueError, match="both have head"):
        Both()
