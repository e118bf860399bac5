import math

import pytest
import torch

from repro.modeling.transformer.refine import EachLayer, LookForwardTwice, NoRefinement, offset_box


def test_a_point_moves_the_centre_only():
    box = offset_box(torch.tensor([[[1.0, 0, -2, 0]]]), torch.tensor([[[0.5, 0.25]]])).flatten()
    assert box.tolist() == pytest.approx([math.e / (math.e + 1), 0.25, 1 / (1 + math.e**2), 0.5], abs=1e-6)


def test_a_box_moves_whole():
    box = offset_box(torch.zeros(1, 1, 4), torch.tensor([[[0.5, 0.25, 0.1, 0.9]]]))
    assert box.flatten().tolist() == pytest.approx([0.5, 0.25, 0.1, 0.9], abs=1e-6)


def test_without_refinement_references_stay_and_are_trained():
    delta, reference = torch.zeros(1, 1, 4), torch.tensor([[[0.3, 0.6]]], requires_grad=True)
    refined = NoRefinement()(delta, reference, reference)
    assert refined.sampling is reference and refined.prediction is reference
    refined.boxes_cxcywh_rel.sum().backward()
    assert reference.grad.abs().sum() > 0


def test_each_layer_hands_on_its_box_without_gradient():
    delta = torch.ones(1, 1, 4, requires_grad=True)
    reference = torch.tensor([[[0.3, 0.6]]])
    first = EachLayer()(delta, reference, reference)
    assert torch.equal(first.sampling, first.boxes_cxcywh_rel) and not first.sampling.requires_grad
    second = EachLayer()(torch.zeros(1, 1, 4), first.sampling, first.prediction)
    torch.testing.assert_close(second.boxes_cxcywh_rel, first.boxes_cxcywh_rel)
    assert first.boxes_cxcywh_rel.requires_grad and not second.boxes_cxcywh_rel.requires_grad


def test_looking_forward_twice_trains_the_box_before_too():
    delta = torch.ones(1, 1, 4, requires_grad=True)
    reference = torch.full((1, 1, 4), 0.3)
    first = LookForwardTwice()(delta, reference, reference)
    second = LookForwardTwice()(torch.ones(1, 1, 4), first.sampling, first.prediction)
    third = LookForwardTwice()(torch.ones(1, 1, 4), second.sampling, second.prediction)
    expected = EachLayer()(torch.ones(1, 1, 4), first.sampling, first.sampling)
    torch.testing.assert_close(second.boxes_cxcywh_rel, expected.boxes_cxcywh_rel)
    assert not first.sampling.requires_grad
    assert torch.autograd.grad(second.boxes_cxcywh_rel.sum(), delta, retain_graph=True)[0].abs().sum() > 0
    assert not third.boxes_cxcywh_rel.requires_grad  # by one layer only
