import math

import pytest
import torch

from repro.modeling.class_costs import FocalCost, SoftmaxCost

LABELS = torch.tensor([[1, 0]])


def test_focal_by_hand():
    """Probabilities 1/4 of class 1 and 1/2 of class 0: what a positive costs, less what a negative would."""
    logits = torch.tensor([0.0, -math.log(3), 5.0]).view(1, 1, 1, 3)
    first = 0.25 * 0.75**2 * math.log(4) - 0.75 * 0.25**2 * math.log(4 / 3)
    second = (0.25 - 0.75) * 0.25 * math.log(2)
    assert FocalCost()(logits, LABELS).flatten().tolist() == pytest.approx([first, second])
    # With gamma 0 and alpha 1/2 it is half of the negative logit.
    assert FocalCost(0.5, 0.0)(logits, LABELS).flatten().tolist() == pytest.approx([math.log(3) / 2, 0], abs=1e-6)


def test_softmax_by_hand():
    """Three classes, the last of which is "no object", at odds 1 : 2 : 5."""
    logits = torch.tensor([1.0, 2.0, 5.0]).log().view(1, 1, 1, 3)
    assert SoftmaxCost()(logits, LABELS).flatten().tolist() == pytest.approx([-2 / 8, -1 / 8])


@pytest.mark.parametrize("cost", [FocalCost(), SoftmaxCost()])
def test_every_image_is_asked_for_its_own_objects(cost):
    logits = torch.randn(2, 3, 4, 5)
    labels = torch.randint(5, (3, 6))
    found = cost(logits, labels)
    assert found.shape == (2, 3, 4, 6)
    for image in range(3):
        torch.testing.assert_close(
            found[:, image : image + 1], cost(logits[:, image : image + 1], labels[image : image + 1])
        )
