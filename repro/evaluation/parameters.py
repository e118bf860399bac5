"""How large a detector is: its parameters, in training and when deployed, and its arithmetic for one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from repro.deploy.graph import RawGraph, example_inputs, graph
from repro.evaluation._model import ModelMeasures
from repro.modeling.transformer.attention import MultiScaleDeformableAttention
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
            ``points``: places that deformable attention reads: heads · points · queries, over all layers that run.
        """
        made = graph(model, postprocess=False)
        counts = {"millions": count(model) / 1e6, "fused": count(made) / 1e6}
        operations, points = work(made, self.size)
        return ModelMeasures(counts | {"gflops": operations / 1e9, "points": float(points)})


def count(model: nn.Module) -> int:
    """Parameters of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def work(made: RawGraph, size: tuple[int, int]) -> tuple[int, int]:
    """Operations, and points of deformable attention, of a forward pass over one image."""
    points: list[int] = []

    def count_points(attention: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        points.append(attention.num_heads * sum(attention.points_per_level) * inputs[0].shape[1])

    hooks = [
        module.register_forward_hook(count_points)
        for module in made.modules()
        if isinstance(module, MultiScaleDeformableAttention)
    ]
    try:
        with implementation("reference"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            made(*example_inputs(made, size))
    finally:
        for hook in hooks:
            hook.remove()
    return counter.get_total_flops(), sum(points)
