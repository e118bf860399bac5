"""The attention layer against `transformers`' Deformable DETR and RT-DETRv2, with the same random weights."""

import pytest
import torch
from transformers import DeformableDetrConfig, RTDetrV2Config
from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrMultiscaleDeformableAttention
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2MultiscaleDeformableAttention

from repro.modeling.transformer.attention import MultiScaleDeformableAttention
from repro.modeling.transformer.memory import flatten
from repro.ops.ms_deform_attn import implementation, native

SHAPES = [(9, 12), (5, 6), (3, 3)]
DIM, HEADS, POINTS = 32, 4, 2


@pytest.fixture(params=["reference", "native"], autouse=True)
def each_implementation(request):
    if request.param == "native" and not native.serves("cpu", torch.float64):
        pytest.skip("the operator is not built: repro ops build")
    with implementation(request.param):
        yield


def compare(theirs, mode, reference, mask=None):
    """Outputs and gradients of both layers, in double precision."""
    torch.manual_seed(0)
    ours = MultiScaleDeformableAttention(DIM, HEADS, len(SHAPES), POINTS, mode).double()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(std=0.5)
    theirs = theirs.double()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    assert set(dict(theirs.named_parameters())) == set(dict(ours.named_parameters()))
    memory = flatten([torch.randn(2, DIM, *shape, dtype=torch.float64) for shape in SHAPES], mask)
    query = torch.randn(2, reference.shape[1], DIM, dtype=torch.float64)
    output = ours(query, reference, memory)
    expected, _ = theirs(
        query,
        attention_mask=None if memory.padding_mask is None else ~memory.padding_mask,
        encoder_hidden_states=memory.tokens,
        reference_points=reference,
        spatial_shapes=torch.tensor(SHAPES),
        spatial_shapes_list=SHAPES,
        level_start_index=torch.tensor(memory.level_start_index),
    )
    torch.testing.assert_close(output, expected)
    for layer, result in ((ours, output), (theirs, expected)):
        layer.zero_grad()
        (result * torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view_as(result)).sum().backward()
    for name, parameter in ours.named_parameters():
        if parameter.grad is None:  # discrete: nothing reaches the offsets
            assert name.startswith("sampling_offsets") and mode != "bilinear"
            continue
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad, msg=name)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_deformable_detr(coordinates):
    config = DeformableDetrConfig(d_model=DIM, num_feature_levels=len(SHAPES), disable_custom_kernels=True)
    theirs = DeformableDetrMultiscaleDeformableAttention(config, num_heads=HEADS, n_points=POINTS)
    mask = torch.zeros(2, 72, 96, dtype=torch.bool)
    mask[1, 50:] = mask[1, :, 70:] = True
    reference = torch.rand(2, 7, len(SHAPES), coordinates, dtype=torch.float64)
    compare(theirs, "bilinear", reference, mask)


@pytest.mark.parametrize(("method", "mode"), [("default", "bilinear"), ("discrete", "discrete_per_axis")])
def test_rtdetrv2(method, mode):
    config = RTDetrV2Config(
        d_model=DIM,
        decoder_attention_heads=HEADS,
        decoder_n_levels=len(SHAPES),
        decoder_n_points=POINTS,
        decoder_method=method,
        decoder_offset_scale=0.5,
    )
    reference = torch.rand(2, 7, 1, 4, dtype=torch.float64)  # one box for all levels
    ours = reference.expand(-1, -1, len(SHAPES), -1)
    theirs = RTDetrV2MultiscaleDeformableAttention(config)
    broadcast = theirs.forward
    theirs.forward = lambda *args, reference_points, **rest: broadcast(
        *args, reference_points=reference_points[:, :, :1], **rest
    )
    compare(theirs, mode, ours)
