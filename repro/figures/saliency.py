"""Which pixels move a detection: DETReg, Figure 4 (a saliency map, Simonyan et al. 2014).

For one query of an image, the norm at each pixel of the derivative of an output by the image: of the box centre's x and
y, relative to the image, and of the embedding z. The norm is over the three colours; for z, over its channels too (the
Frobenius norm of the Jacobian, which costs one pass back for each channel). The paper writes ‖∂z/∂I‖ and says no more.
Derivatives are by pixel values of 0…255, of the image as the detector sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped
from pydantic import Field
from torch import Tensor, nn

from repro.figures import _drawing, _paper
from repro.figures._detector import inner, ranked
from repro.figures._drawing import Data
from repro.figures._images import SIDES, bare, choose, objects, outline, show
from repro.figures._source import Source
from repro.modeling.boxes import cxcywh_to_xyxy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTPUTS = {"x": "‖∂x/∂I‖", "y": "‖∂y/∂I‖", "z": "‖∂z/∂I‖"}
"""Output to how a figure writes it."""

WHITE = 99.5  # percentile of a map that is shown as the brightest colour; a few pixels would else leave the rest dark


class Drawing(_drawing.Drawing):
    """A column for each image: the detection, then a map for each output.

    Attributes:
        images: How many, at random.
        seed: Of that draw.
        image_ids: Images by id, instead.
        rank: Which detection of an image: 0 is the one with the highest score.
        queries: Queries by number, one an image, instead.
    """

    images: int = Field(default=4, ge=1)
    seed: int = 0
    image_ids: tuple[int, ...] = ()
    rank: int = Field(default=0, ge=0)
    queries: tuple[int, ...] = ()

    reads: ClassVar[tuple[_drawing.Reads, ...]] = ("model",)

    def gather(self, sources: Sequence[Source]) -> Data:
        """Return a line for each image with its query, score and box (xyxy in pixels), and its maps as arrays."""
        rows, arrays = [], {}
        for source in sources:
            model, labelled = source.model(), [image for image in source.images() if len(objects(image))]
            for place, image in enumerate(choose(labelled, self.images, self.seed, self.image_ids)):
                pixels = source.sample(image)["image"]
                about = {"row": source.row.id, "seed": source.seed, "image_id": image["image_id"]}
                rows.append(about | self._detection(model, pixels, place))
                name, query = f"{source.row.id}.{source.seed}.{image['image_id']}", rows[-1]["query"]
                arrays[f"{name}.image"] = pixels.permute(1, 2, 0).numpy()
                arrays |= {f"{name}.{key}": value.numpy() for key, value in saliency(model, pixels, query).items()}
        return Data(rows, arrays)

    def _detection(self, model: nn.Module, pixels: Shaped[Tensor, "3 H W"], place: int) -> dict[str, Any]:
        """Return query, score (0 where it detects nothing) and box, xyxy in pixels, of what is shown of an image."""
        found = ranked(model, pixels)
        best = found.queries[min(self.rank, len(found.queries) - 1)]
        query = self.queries[place] if place < len(self.queries) else best
        height, width = pixels.shape[1:]
        box = cxcywh_to_xyxy(found.boxes_cxcywh_rel[query]) * torch.tensor([width, height, width, height])
        score = dict(zip(found.queries, found.scores, strict=True)).get(query, 0.0)
        return {"query": query, "score": score} | dict(zip(SIDES, box.tolist(), strict=True))

    def draw(self, data: Data) -> Figure:
        """Draw images above their maps; each map is bright up to its own 99.5th percentile."""
        names = [f"{row['row']}.{row['seed']}.{row['image_id']}" for row in data.rows]
        outputs = [key for key in OUTPUTS if f"{names[0]}.{key}" in data.arrays]
        shapes = [data.arrays[f"{name}.image"].shape for name in names]
        widths = [shape[1] / shape[0] for shape in shapes]
        height = min((_paper.PAGE - 0.25) / sum(widths), 1.6)
        figure = _paper.canvas(_paper.PAGE, (height + 0.06) * (len(outputs) + 1) + 0.75, images=True)
        grid = figure.subplots(len(outputs) + 1, len(names), squeeze=False, width_ratios=widths)
        for down, row, name in zip(grid.T, data.rows, names, strict=True):
            box = [row[side] for side in SIDES]
            show(down[0], data.arrays[f"{name}.image"], f"image {row['image_id']}, query {row['query']}")
            outline(down[0], box, _paper.COLOURS[1], 1.2)
            for axes, key in zip(down[1:], outputs, strict=True):
                found = data.arrays[f"{name}.{key}"]
                bright = axes.imshow(
                    found / max(float(np.percentile(found, WHITE)), 1e-30), cmap="magma", vmin=0, vmax=1
                )
                outline(bare(axes), box, "white", 0.6, "--")
        for axes, text in zip(grid[:, 0], ["detection", *(OUTPUTS[key] for key in outputs)], strict=True):
            axes.set_ylabel(text)
        label = f"gradient norm, relative to each map's {WHITE:g}th percentile"
        figure.colorbar(
            bright, ax=grid.ravel().tolist(), location="bottom", shrink=0.5, aspect=50, pad=0.02, label=label
        )
        return figure


def saliency(model: nn.Module, image: Shaped[Tensor, "3 H W"], query: int) -> dict[str, Float[Tensor, "H W"]]:
    """Return the map of each output of `OUTPUTS` that the model has; z needs its ``embedding_head``."""
    detector = inner(model)
    pixels = image.to(detector.device, detector.pixel_mean.dtype).requires_grad_()
    predictions = detector.forward_tensors(*detector.preprocess([pixels]))
    outputs = {"x": predictions.pred_boxes[0, query, :1], "y": predictions.pred_boxes[0, query, 1:2]}
    if hasattr(model, "embedding_head"):
        outputs["z"] = model.embedding_head(predictions.states[-1][0, query])
    return {name: jacobian_norm(output, pixels) for name, output in outputs.items()}


def jacobian_norm(outputs: Float[Tensor, " N"], image: Float[Tensor, "3 H W"]) -> Float[Tensor, "H W"]:
    """Return, for each pixel, the norm of the derivatives of all outputs by its three colours."""
    squares = torch.zeros_like(image[0])
    for output in outputs:
        (gradient,) = torch.autograd.grad(output, image, retain_graph=True)
        squares += gradient.square().sum(0)
    return squares.sqrt().detach().cpu()
