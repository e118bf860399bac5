"""Lengths and rates in epochs, against numbers worked by hand from the DETReg paper's settings."""

import pytest

from repro.engine import schedule
from repro.errors import RecipeError


def train(epochs, drops=(), iterations=None):
    return {"epochs": epochs, "lr_drops": list(drops), "iterations": iterations}


@pytest.mark.parametrize(
    ("images", "epochs", "batch", "steps"),
    [
        (1183, 2000, 24, 98_000),  # 1 % of COCO: 49 full batches an epoch
        (11829, 400, 24, 196_800),
        (118287, 50, 192, 30_800),
        (10, 3, 24, 3),  # fewer images than a batch: one step an epoch
        (100, 0.5, 10, 5),
    ],
)
def test_an_epoch_is_the_number_of_full_batches(images, epochs, batch, steps):
    assert schedule.iterations(train(epochs), images, batch) == steps


def test_a_fixed_number_of_steps_replaces_the_epochs():
    assert schedule.iterations(train(2000, iterations=7), images=1183, total_batch_size=24) == 7


def test_the_rate_drops_to_a_tenth_after_each_drop_whatever_the_length():
    rate = schedule.learning_rate(train(50, [40, 45]))
    assert [rate(epoch / 50) for epoch in (0, 39.9, 40, 44.9, 45, 49.9)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_drop_at_the_end_or_beyond_never_happens():
    rate = schedule.learning_rate(train(50, [50, 200]))
    assert {rate(progress / 100) for progress in range(100)} == {1.0}


@pytest.mark.parametrize("drops", [[45, 40], [40, 40], [0]])
def test_drops_that_do_not_increase_are_refused(drops):
    with pytest.raises(RecipeError, match="increasing"):
        schedule.learning_rate(train(50, drops))


def test_the_first_steps_grow_into_the_rate():
    rate = schedule.learning_rate({**train(10, [5]), "warmup_iterations": 4}, steps=20)
    factors = [rate(step / 20) for step in (0, 1, 2, 3, 4, 9, 10, 19)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.1, 0.1])


def test_a_warm_up_from_a_given_part():
    """mmdetection's: 0.001 at first, then equal amounts more, whole after 500 steps."""
    settings = {**train(180, [120, 160]), "warmup_iterations": 500, "warmup_start": 0.001}
    rate = schedule.learning_rate(settings, steps=180_000)
    factors = [rate(step / 180_000) for step in (0, 250, 499, 500, 119_999, 120_000, 160_000)]
    assert factors == pytest.approx([0.001, 0.5005, 0.998002, 1, 1, 0.1, 0.01])
