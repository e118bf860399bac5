"""Saliency maps: against differences of the outputs when a pixel is moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from repro.figures.saliency import OUTPUTS, jacobian_norm, saliency
from repro.meta_arch import deformable_detr, detr, detreg

STEP = 1e-4  # in pixel values of 0…255; in double precision


def model_and_image() -> tuple[Any, torch.Tensor]:
    torch.manual_seed(0)
    model = detreg.example().eval()
    for head in model.detector.bbox_embed:
        torch.nn.init.normal_(head.layers[-1].weight, std=0.5)
    return model.double(), torch.randint(0, 256, (3, 40, 48)).double()


def outputs(model: Any, image: torch.Tensor, query: int) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        predictions = model.detector.forward_tensors(model.detector.normalise(image)[None])
        box, state = predictions.pred_boxes[0, query], predictions.states[-1][0, query]
        return {"x": box[:1], "y": box[1:2], "z": model.embedding_head(state)}


def test_maps_are_finite_differences() -> None:
    model, image = model_and_image()
    query = 3
    maps = saliency(model, image, query)
    assert set(maps) == set(OUTPUTS)
    assert all(one.shape == image.shape[1:] for one in maps.values())
    strong = {divmod(int(one.argmax()), image.shape[2]) for one in maps.values()}
    for row, column in [*strong, (0, 0), (20, 24), (39, 47)]:
        squares = dict.fromkeys(OUTPUTS, 0.0)
        for channel in range(3):
            up, down = image.clone(), image.clone()
            up[channel, row, column] += STEP
            down[channel, row, column] -= STEP
            above, below = outputs(model, up, query), outputs(model, down, query)
            for name in OUTPUTS:
                squares[name] += float(((above[name] - below[name]) / (2 * STEP)).square().sum())
        for name in OUTPUTS:
            assert float(maps[name][row, column]) == pytest.approx(squares[name] ** 0.5, rel=1e-4, abs=1e-12), name


def test_the_norm_is_over_colours_and_outputs() -> None:
    image = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1).requires_grad_()
    red, green, blue = image.flatten()
    found = jacobian_norm(torch.stack([3 * red, 4 * green * blue / 3]), image)  # gradients (3, 0, 0) and (0, 4, 8/3)
    assert float(found) == pytest.approx((9 + 16 + 64 / 9) ** 0.5)


@pytest.mark.parametrize("module", [deformable_detr, detr])
def test_a_detector_without_an_embedding_has_maps_of_its_box_only(module: Any) -> None:
    torch.manual_seed(0)
    maps = saliency(module.example().eval(), torch.randint(0, 256, (3, 40, 48), dtype=torch.uint8), 0)
    assert set(maps) == {"x", "y"}


def test_a_figure_shows_the_best_query_of_each_image(lab: Any) -> None:
    name = "toy/figure4"
    data = lab.drawing(name).gather(lab.sources(name))
    (source,) = lab.sources(name)
    model, images = source.model(), {image["image_id"]: image for image in source.images()}
    assert len(data.rows) == 1
    for row in data.rows:
        sample = source.sample(images[row["image_id"]])
        best = model([sample])[0]["instances"]
        scale = np.array(
            [best.image_size[1] / sample["image"].shape[2], best.image_size[0] / sample["image"].shape[1]] * 2
        )
        box = np.array([row[side] for side in ("left", "top", "right", "bottom")]) * scale
        assert row["score"] == pytest.approx(float(best.scores[0]))
        assert box == pytest.approx(best.pred_boxes.tensor[0].numpy(), rel=1e-4)
        pixels = data.arrays[f"ours.1.{row['image_id']}.image"]
        assert pixels.shape == (*sample["image"].shape[1:], 3)
        assert data.arrays[f"ours.1.{row['image_id']}.z"].shape == pixels.shape[:2]
