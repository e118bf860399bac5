"""Denoising queries against counts of the published code and cases worked by hand."""

import pytest
import torch

from repro.modeling.matching import Targets
from repro.modeling.transformer import ContrastiveDenoising

CLASSES = 80


def targets(*counts):
    generator = torch.Generator().manual_seed(0)
    labels = [torch.randint(CLASSES, (count,), generator=generator) for count in counts]
    place = torch.tensor([0.4, 0.4, 0.05, 0.05])  # so that no corner leaves the image
    boxes = [torch.rand(count, 4, generator=generator) * 0.1 + place for count in counts]
    return Targets.pad(labels, boxes)


def spoil(*counts, **settings):
    torch.manual_seed(0)
    return ContrastiveDenoising(**settings)(targets(*counts), CLASSES)


@pytest.mark.parametrize(
    ("most", "groups", "queries"),
    [(1, 100, 200), (3, 33, 198), (7, 14, 196), (33, 3, 198), (51, 1, 102), (100, 1, 200), (150, 1, 300)],
)
def test_numbers_of_groups_and_queries(most, groups, queries):
    """As measured with the authors' code."""
    noise = spoil(most, 1)
    assert (noise.groups, noise.labels.shape[1]) == (groups, queries)


def test_every_query_knows_its_object():
    noise = spoil(2, 1, num_queries=6, label_noise=0.0, box_noise=0.0)
    objects = targets(2, 1)
    assert noise.groups == 3 and noise.labels.shape == (2, 12)
    positives = [0, 1, 4, 5, 8, 9]
    assert noise.matches.query[0].tolist() == [positives, [0, 0, 4, 0, 8, 0]]
    assert noise.matches.matched[0].tolist() == [[True] * 6, [True, False] * 3]
    assert noise.targets.labels[0].tolist() == objects.labels[0].tolist() * 3
    assert noise.labels[0].tolist() == objects.labels[0].tolist() * 6
    assert noise.labels[1].tolist() == [objects.labels[1, 0].item(), CLASSES] * 6
    torch.testing.assert_close(noise.boxes_cxcywh_rel[0, :2], objects.boxes_cxcywh_rel[0])


def test_positives_stay_near_and_negatives_do_not():
    """Corners move by less than a half size, or by one to two."""
    noise, objects = spoil(1, num_queries=2000), targets(1)
    half = objects.boxes_cxcywh_rel[0, 0, 2:] / 2
    corner = objects.boxes_cxcywh_rel[0, 0, :2] - half
    found = noise.boxes_cxcywh_rel[0]
    moved = ((found[:, :2] - found[:, 2:] / 2 - corner) / half).view(2000, 2, 2)
    positive, negative = moved[:, 0], moved[:, 1]
    assert positive.abs().max() < 1 and positive.min() < -0.95 and positive.max() > 0.95
    assert positive.abs().mean() == pytest.approx(0.5, abs=0.02)
    # Where a negative's other corner came to lie before this one, its size is nothing, and says less.
    whole = negative[(found.view(2000, 2, 4)[:, 1, 2:] > 1e-4).all(-1)]
    assert len(whole) > 100
    assert (whole.abs() > 1 - 1e-4).all() and (whole.abs() < 2 + 1e-4).all()
    assert found.min() > 0 and found.max() < 1


def test_a_quarter_of_the_classes_are_drawn_anew():
    noise = spoil(1, num_queries=4000)
    changed = (noise.labels[0] != targets(1).labels[0, 0]).float().mean()
    assert changed.item() == pytest.approx(0.25 * (CLASSES - 1) / CLASSES, abs=0.015)


def test_who_sees_whom():
    """Two groups of a positive and a negative, then three others."""
    mask = spoil(1, num_queries=2).attn_mask(3)
    sees = ["1100111", "1100111", "0011111", "0011111", "0000111", "0000111", "0000111"]
    assert ["".join(str(int(not blocked)) for blocked in row) for row in mask.tolist()] == sees


def test_without_objects_there_is_padding():
    noise = spoil(0, 0)
    assert not noise.objects and noise.labels.tolist() == [[CLASSES] * 2] * 2
    assert not noise.matches.matched.any()
    assert spoil(0, 1).objects
