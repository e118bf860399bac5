import pytest

from repro.engine.phases import phases
from repro.errors import RecipeError


def recipe(policy="short", epochs=10):
    mapper = {"_target_": "repro.data.mapper.TrainMapper", "augmentation": None}
    policies = {"short": {"late_epochs": 2, "sizes": [32, 64]}, "never": {"late_epochs": 0, "sizes": None}}
    data = {"mapper": mapper, "late_mapper": {**mapper, "channels": "BGR"}, "policy": policy, "policies": policies}
    return {"data": data, "train": {"epochs": epochs}}


@pytest.mark.parametrize(("steps", "late_from"), [(1000, 800), (7, 6), (2, 2)])
def test_the_last_epochs_keep_their_share(steps, late_from):
    made = phases(recipe(), steps, {})
    assert made.late_from == late_from
    assert made.mapper.reader.channels == "RGB" and made.late_mapper.reader.channels == "BGR"
    assert made.batch_transform.sizes == (32, 64)


def test_nothing_changes_without_last_epochs_or_without_policies():
    made = phases(recipe("never"), 1000, {})
    assert made.late_from is None and made.late_mapper is None and made.batch_transform is None
    plain = recipe()
    del plain["data"]["policies"]
    made = phases(plain, 1000, {})
    assert made.late_from is None and made.batch_transform is None


def test_what_does_not_fit_is_named():
    with pytest.raises(RecipeError, match=r"no data\.policies\.sort.*short"):
        phases(recipe("sort"), 1000, {})
    with pytest.raises(RecipeError, match="late_epochs is 2, of 1 epochs"):
        phases(recipe(epochs=1), 1000, {})
