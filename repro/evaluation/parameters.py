"""How large a detector is: its parameters, in training and when deployed, and its arithmetic for one image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from repro.deploy.graph import RawGraph, example_inputs, graph
from repro.evaluation._model import ModelMeasures
from repro.ops.ms_deform_attn import implementation


class Evaluator:
    """Counts."""

    def __init__(self, size: Sequence[int]) -> None:
        """Set up.

        Args:
            size: (height, width) of the image whose arithmetic is counted.
        """
        self.size = (int(size[0]), int(size[1]))

    def measure(self, model: nn.Module, device: torch.device) -> ModelMeasures:
        """Count of a detector of the DETR family.

        Returns:
            ``millions``: parameters of the model that is trained, which papers print; frozen normalisation has none.
            ``fused``: the same, in millions, with parallel convolutions made one.
            ``gflops``: two for each multiplication with its addition in convolutions and matrix products, fused.
        """
        made = graph(model, postprocess=False)
        counts = {"millions": count(model) / 1e6, "fused": count(made) / 1e6}
        return ModelMeasures(counts | {"gflops": gflops(made, self.size)})


def count(model: nn.Module) -> int:
    """Parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def gflops(made: RawGraph, size: tuple[int, int]) -> float:
    """Billions of operations of a forward pass over one image."""
    with implementation("reference"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        made(*example_inputs(made, size))
    return counter.get_total_flops() / 1e9
