"""A detector as one graph of tensors answers as the detector does."""

import pytest
import torch
from torch import nn

from repro.deploy.graph import example_inputs, graph
from repro.errors import ExportError
from repro.meta_arch import deformable_detr, detr, detreg, rtdetr

ORIGINAL = (50, 90)  # height, width of the image before it was resized


@pytest.fixture
def image():
    return torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


@pytest.mark.parametrize("family", [rtdetr, deformable_detr, detr, detreg], ids=lambda family: family.__name__[16:])
def test_a_graph_answers_as_its_detector_does(family, image):
    torch.manual_seed(0)
    model = family.example().eval()
    with torch.no_grad():
        (answer,) = model([{"image": image, "height": ORIGINAL[0], "width": ORIGINAL[1]}])
        made = graph(model)
        labels, boxes, scores = made(image[None] / 255, torch.tensor([[ORIGINAL[1], ORIGINAL[0]]]))
    expected = answer["instances"]
    torch.testing.assert_close(scores[0], expected.scores)
    assert torch.equal(labels[0], expected.pred_classes)
    torch.testing.assert_close(boxes[0], expected.pred_boxes.tensor, atol=1e-3, rtol=1e-5)


def test_a_batch_keeps_what_each_of_its_images_keeps():
    """Worked by hand: three queries, two classes and, for the softmax, "no object"."""
    low, high, middle = [-3.0, -2.0], [4.0, -4.0], [-1.0, 2.0]
    logits = torch.tensor([[low, high, middle], [middle, low, high]])
    one_of = detr.example(num_classes=2)
    one_of.test_topk = 2
    _, queries, labels = one_of.select(torch.cat([logits, torch.zeros(2, 3, 1)], dim=-1))
    assert (queries.tolist(), labels.tolist()) == ([[1, 2], [2, 0]], [[0, 1], [0, 1]])
    each = deformable_detr.example(num_classes=2)
    each.test_topk = 3
    scores, queries, labels = each.select(logits)
    assert (queries.tolist(), labels.tolist()) == ([[1, 2, 2], [2, 0, 0]], [[0, 1, 0], [0, 1, 0]])
    torch.testing.assert_close(scores[0], torch.tensor([4.0, 2.0, -1.0]).sigmoid())


def test_a_raw_graph_is_the_last_layers_answer(image):
    torch.manual_seed(0)
    model = detr.example().eval()
    with torch.no_grad():
        logits, boxes = graph(model, postprocess=False)(image[None] / 255)
        expected = model.forward_tensors(model.normalise(image)[None])
    torch.testing.assert_close(logits, expected.pred_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(boxes, expected.pred_boxes, atol=1e-5, rtol=1e-4)


def test_convolutions_are_fused_in_a_copy():
    model = rtdetr.example()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    made = graph(model)
    assert sum(one.numel() for one in made.parameters()) < sum(one.numel() for one in model.parameters())
    assert model.training
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_what_is_no_graph_is_refused_by_name():
    with pytest.raises(ExportError, match=r"Linear cannot be made one graph.*RT-DETR"):
        graph(nn.Linear(1, 1))


def test_example_inputs_are_those_of_the_graph():
    model = detr.example()
    pixels, sizes = example_inputs(graph(model), (64, 96), batch=3)
    assert pixels.shape == (3, 3, 64, 96) and pixels.min() >= 0 and pixels.max() <= 1
    assert sizes.tolist() == [[96, 64]] * 3
    assert len(example_inputs(graph(model, postprocess=False), (64, 96))) == 1
