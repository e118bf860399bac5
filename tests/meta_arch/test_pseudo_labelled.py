"""Each kind of image weighs what its recipe says; the detector itself knows nothing of kinds."""

import pytest
import torch
from detectron2.structures import Instances
from torch import nn

from repro.meta_arch.pseudo_labelled import PseudoLabelled


class Counting(nn.Module):
    """A detector whose loss is its weight times the mean of what stands in the samples."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs):
        if not self.training:
            return [{"instances": Instances((int(sample["value"]), 1))} for sample in inputs]
        mean = sum(sample["value"] for sample in inputs) / len(inputs)
        return {"loss_cls": self.weight * mean, "loss_box": self.weight * 10 * mean}


BATCH = [
    {"value": 1.0},
    {"value": 5.0, "pseudo": True},
    {"value": 2.0, "pseudo": False},
    {"value": 7.0, "pseudo": True},
]


def test_each_kind_has_its_own_mean_and_weight():
    losses = PseudoLabelled(Counting(), labelled_weight=0.5, pseudo_weight=3.0).train()(BATCH)
    assert {name: value.item() for name, value in losses.items()} == {
        "loss_cls": 0.5 * 2 * 1.5,
        "loss_box": 0.5 * 20 * 1.5,
        "loss_cls_unsup": 3 * 2 * 6,
        "loss_box_unsup": 3 * 20 * 6,
    }


@pytest.mark.parametrize(("kind", "end"), [(False, ""), (True, "_unsup")])
def test_a_batch_of_one_kind_has_the_losses_of_that_kind(kind, end):
    losses = PseudoLabelled(Counting()).train()([sample for sample in BATCH if sample.get("pseudo", False) is kind])
    assert set(losses) == {f"loss_cls{end}", f"loss_box{end}"}


def test_gradients_of_both_kinds_meet_in_the_detector():
    model = PseudoLabelled(Counting(), labelled_weight=0.5, pseudo_weight=3.0).train()
    sum(model(BATCH).values()).backward()
    assert model.detector.weight.grad.item() == pytest.approx(11 * (0.5 * 1.5 + 3 * 6))


def test_in_inference_the_detector_answers_whatever_the_kind():
    answers = PseudoLabelled(Counting()).eval()(BATCH)
    assert [one["instances"].image_size[0] for one in answers] == [1, 5, 2, 7]
