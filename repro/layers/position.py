"""Sine position encoding of padded feature maps (Carion et al. 2020, "DETR", appendix A.4).

Images are padded at the right and at the bottom only, so a position's encoding is a part that depends on its row and a
part that depends on its column. They are computed from the valid sizes, for H + W positions instead of H · W; inside
the image the values are those of the published code, which counts valid pixels in a mask. In the padding they differ,
where nothing reads them.

Two formulas are in use: DETR and UP-DETR divide the count 1…n by n (``centred=False``), Deformable DETR and both
variants of DETReg count from pixel centres, 0.5…n - 0.5. The wrong one costs AP without any error.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SinePosition(nn.Module):
    """Encodes (row, column) in ``embed_dim`` channels: the first half for the row, the second for the column.

    Args:
        embed_dim: channels, a multiple of 4.
        temperature: ratio of the longest to the shortest wavelength.
        centred: count from pixel centres (Deformable DETR) instead of from 1 (DETR).
    """

    def __init__(self, embed_dim: int, temperature: float = 10_000.0, centred: bool = True) -> None:
        super().__init__()
        if embed_dim % 4:
            raise ValueError(f"embed_dim is {embed_dim}; a sine and a cosine for each axis need a multiple of 4")
        self.offset = 0.5 if centred else 0.0
        self.embed_dim, self.temperature = embed_dim, temperature

    def forward(self, height: int, width: int, valid_sizes: Float[Tensor, "B 2"]) -> Float[Tensor, "B H W C"]:
        """Encoding of a map of ``height`` × ``width``, of which the first ``valid_sizes`` (h, w) hold an image."""
        rows = self._axis(height, valid_sizes[:, 0])
        columns = self._axis(width, valid_sizes[:, 1])
        return torch.cat(
            [rows.unsqueeze(2).expand(-1, -1, width, -1), columns.unsqueeze(1).expand(-1, height, -1, -1)], dim=-1
        )

    def _axis(self, length: int, valid: Float[Tensor, " B"]) -> Float[Tensor, "B N half"]:
        count = torch.arange(1, length + 1, device=valid.device, dtype=valid.dtype)
        count = torch.minimum(count, valid.unsqueeze(1))
        angle = (count - self.offset) / (valid.unsqueeze(1) + 1e-6) * (2 * math.pi)
        return sine_encoding(angle, self.embed_dim // 2, self.temperature)


def sine_encoding(
    angle: Float[Tensor, "*batch"], channels: int, temperature: float = 10_000.0
) -> Float[Tensor, "*batch C"]:
    """Sine and cosine in turns of each angle at ``channels // 2`` wavelengths, the longest ``temperature`` times 2π."""
    exponent = torch.arange(0, channels, 2, device=angle.device, dtype=angle.dtype) / channels
    angle = angle.unsqueeze(-1) / temperature**exponent
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)
