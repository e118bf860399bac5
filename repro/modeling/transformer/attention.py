"""Multi-scale deformable attention as a layer (Zhu et al. 2021, "Deformable DETR", Section 4.1).

Parameters are named as in the published code. The number of points may differ from level to level, as in RT-DETRv2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repro.ops.ms_deform_attn import ms_deform_attn

from .memory import Memory


class MultiScaleDeformableAttention(nn.Module):
    """Reads a few points of every level around each query's reference point or box.

    Args:
        embed_dim: channels C.
        num_heads: heads M; divides ``embed_dim``.
        num_levels: levels L.
        num_points: points of each head on each level: one number for all levels, or one a level.
        mode: how a point is read, see :func:`repro.ops.ms_deform_attn.ms_deform_attn`.
    """

    def __init__(
        self,
        embed_dim: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int | Sequence[int] = 4,
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        points = [num_points] * num_levels if isinstance(num_points, int) else list(num_points)
        if len(points) != num_levels:
            raise ValueError(f"num_points is {points}; expected one number for each of {num_levels} levels")
        self.num_heads, self.points_per_level, self.mode = num_heads, tuple(points), mode
        total = num_heads * sum(points)
        self.sampling_offsets = nn.Linear(embed_dim, total * 2)
        self.attention_weights = nn.Linear(embed_dim, total)
        self.value_proj = nn.Linear(embed_dim, embed_dim)
        self.output_proj = nn.Linear(embed_dim, embed_dim)
        self.reset_parameters()
        # A point that is read at one pixel passes no gradient to where it lies (RT-DETRv2, Section 2.1).
        self.sampling_offsets.requires_grad_(mode == "bilinear")

    def reset_parameters(self) -> None:
        """Heads look in different directions, points at growing distances, all with equal weight."""
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=-1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        distance = torch.cat([torch.arange(1, count + 1) for count in self.points_per_level])
        nn.init.zeros_(self.sampling_offsets.weight)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((direction[:, None] * distance[:, None]).flatten())
        for parameter in self.attention_weights.parameters():
            nn.init.zeros_(parameter)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(
        self, query: Float[Tensor, "B Q C"], reference: Float[Tensor, "B Q L R"], memory: Memory
    ) -> Float[Tensor, "B Q C"]:
        """Attend from ``query`` to ``memory``.

        Args:
            query: content plus position.
            reference: on each level of the padded map, where 1 is its edge: points (x, y), from which offsets are
                counted in pixels, or boxes (cx, cy, w, h), from which they are counted in half sizes.
            memory: where the values are read.
        """
        value = self.value_proj(memory.tokens)
        if memory.padding_mask is not None:
            value = value.masked_fill(memory.padding_mask.unsqueeze(-1), 0.0)
        batch, queries, _ = query.shape
        offsets = self.sampling_offsets(query).view(batch, queries, self.num_heads, -1, 2)
        weights = self.attention_weights(query).view(batch, queries, self.num_heads, -1).softmax(-1)
        output = ms_deform_attn(
            value.unflatten(-1, (self.num_heads, -1)),
            memory.spatial_shapes,
            memory.level_start_index,
            self._locations(offsets, reference, memory),
            weights,
            points_per_level=self.points_per_level,
            mode=self.mode,
        )
        return self.output_proj(output)

    def _locations(
        self, offsets: Float[Tensor, "B Q M P 2"], reference: Float[Tensor, "B Q L R"], memory: Memory
    ) -> Float[Tensor, "B Q M P 2"]:
        # In half precision a location is off by up to half a pixel.
        reference = reference.to(torch.promote_types(reference.dtype, torch.float32))
        # Each level as often as it has points; ONNX has no repeat_interleave by a number for each level.
        repeated = [level for level, count in enumerate(self.points_per_level) for _ in range(count)]
        level = torch.tensor(repeated, dtype=torch.long, device=offsets.device)
        origin = reference[..., :2].index_select(2, level).unsqueeze(2)
        if reference.shape[-1] == 2:
            scale = 1 / memory.sizes.flip(-1).index_select(0, level)
        else:
            counts = offsets.new_tensor(self.points_per_level, dtype=torch.long)
            size = reference[..., 2:] * 0.5 / counts.unsqueeze(-1)
            scale = size.index_select(2, level).unsqueeze(2)
        return origin + offsets.to(origin.dtype) * scale
