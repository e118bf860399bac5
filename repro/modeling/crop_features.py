"""What a frozen network sees in parts of an image: one vector a crop. Targets of DETReg, queries of UP-DETR."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence


@torch.no_grad()
def crop_features(
    encoder: nn.Module, feature: str, crops: Sequence[Tensor], normalise: Callable[[Tensor], Tensor]
) -> Float[Tensor, "B T E"]:
    """Feature maps of crops, averaged over space; the crops of all images go through the network together.

    Args:
        encoder: crops to a dictionary of feature maps; it says their channels (``output_shape()``).
        feature: which of the maps.
        crops: one entry an image, [N, 3, h, w] in 0…255, all of one size.
        normalise: pixels to what the encoder takes, on its device.

    Returns:
        In single precision, padded with zeros to the image with most crops.
    """
    counts = [len(entry) for entry in crops]
    pixels = normalise(torch.cat([entry for entry in crops if len(entry)] or list(crops[:1])))
    if len(pixels) == 0:
        return pixels.new_zeros(len(crops), 0, encoder.output_shape()[feature].channels)
    return pad_sequence(encoder(pixels)[feature].float().mean((2, 3)).split(counts), batch_first=True)


def check_crops(inputs: Sequence[dict[str, Any]]) -> None:
    """Every image must have a crop for each of its instances.

    Raises:
        ValueError: one has not.
    """
    for index, entry in enumerate(inputs):
        crops, instances = len(entry["crops"]), len(entry["instances"])
        if crops != instances:
            raise ValueError(f"image {index} of the batch has {crops} crops for {instances} instances")
