"""Signatures change with what can change a result, and with nothing else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repro.errors import RecipeError
from repro.harness.signature import EXCLUDED, canonical, combine, differences, digest, flatten, signature

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine

RECIPE: dict[str, Any] = {
    "model": {"_target_": "repro.meta_arch.deformable_detr.DeformableDETR", "num_classes": 80, "layers": [1, 2]},
    "data": {"percent": 1, "workers": 4, "mapper": {"cache_images": False, "flip": 0.5}},
    "train": {"epochs": 50, "log_period": 20, "checkpoint_period": 1000},
    "run": {"threads": 1, "revision": 1},
}
GOLDEN = "31d2adf3ad96"

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
keys = st.text("abcdefg", min_size=1, max_size=3)  # none of them is excluded
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=12
)
recipes = st.dictionaries(keys, values, max_size=4)


def name(recipe: dict[str, Any] = RECIPE, kind: str = "train", seed: int = 1, **more: dict[str, str]) -> str:
    return signature(kind, recipe, seed, more.get("parents", {}), more.get("datasets", {}))


def changed(path: str, value: Any) -> dict[str, Any]:
    recipe = copy.deepcopy(RECIPE)
    *sections, last = path.split(".")
    node = recipe
    for section in sections:
        node = node[section]
    node[last] = value
    return recipe


def test_a_signature_is_twelve_hex_digits_and_stays() -> None:
    assert name() == name(copy.deepcopy(RECIPE))
    assert len(name()) == 12
    assert set(name()) <= set("0123456789abcdef")
    # If this changes, every record ever written loses its name.
    assert signature("train", {"a": 1, "_target_": "x.y.Z"}, 7, {"encoder": "abc"}, {"coco": "f"}) == GOLDEN


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("model.num_classes", 81),
        ("model.layers", [2, 1]),
        ("data.percent", 2),
        ("data.percent", "1"),
        ("data.percent", True),
        ("train.epochs", None),
        ("run.threads", 2),
        ("run.revision", 2),
        ("train.new", None),
    ],
)
def test_a_value_that_matters_changes_it(path: str, value: Any) -> None:
    assert name(changed(path, value)) != name()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.workers", 0),
        ("train.log_period", 1),
        ("train.checkpoint_period", 9),
        ("data.mapper.cache_images", True),
        ("data.root", "/elsewhere"),
        ("run.gpus", 8),
        ("cost", {"gpu_hours": [1, 2]}),
        ("data.percent", 1.0),
    ],
)
def test_a_value_that_cannot_matter_does_not(path: str, value: Any) -> None:
    assert name(changed(path, value)) == name()


@pytest.mark.parametrize("pattern", EXCLUDED)
def test_every_excluded_pattern_works_at_any_depth_and_on_whole_names_only(pattern: str) -> None:
    last = pattern.removeprefix("*.")
    assert canonical({last: 1, "b": 2}) == {"b": 2}
    assert f"{last}_more" in canonical({f"{last}_more": 1})
    if pattern.startswith("*."):
        assert canonical({"a": {"b": {last: 1, "c": 2}}}) == {"a": {"b": {"c": 2}}}
        assert canonical({"a": [{last: 1, "c": 2}]}) == {"a": [{"c": 2}]}
    else:
        assert canonical({"a": {last: 1}}) == {"a": {last: 1}}


def test_all_other_inputs_count() -> None:
    others = [
        name(kind="finetune"),
        name(seed=2),
        name(parents={"encoder": "a"}),
        name(parents={"encoder": "b"}),
        name(parents={"pretrain": "a"}),
        name(datasets={"coco": "1"}),
        name(datasets={"coco": "2"}),
    ]
    assert len({name(), *others}) == 8


def test_moving_a_class_keeps_the_name_and_renaming_it_does_not() -> None:
    assert name(changed("model._target_", "elsewhere.DeformableDETR")) == name()
    assert name(changed("model._target_", "repro.meta_arch.deformable_detr.Other")) != name()


def test_a_hashed_recipe_gives_the_same_name() -> None:
    assert combine("train", digest(RECIPE), 1, {"a": "b"}, {}) == name(parents={"a": "b"})


@RELAXED
@given(recipes)
def test_order_of_keys_is_nothing(recipe: dict[str, Any]) -> None:
    assert digest(_reversed(recipe)) == digest(recipe)


@RELAXED
@given(recipes)
def test_a_plan_file_keeps_the_name(recipe: dict[str, Any]) -> None:
    assert digest(json.loads(json.dumps(recipe))) == digest(recipe)


@RELAXED
@given(recipes, recipes)
def test_two_recipes_have_one_digest_just_when_nothing_differs(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert (digest(left) == digest(right)) == (canonical(left) == canonical(right) and not differences(left, right))


@RELAXED
@given(recipes, st.lists(keys, min_size=1, max_size=3), scalars)
def test_setting_one_value_changes_the_digest_just_when_the_value_is_another(
    recipe: dict[str, Any], path: list[str], value: Any
) -> None:
    other = copy.deepcopy(recipe)
    node = other
    for section in path[:-1]:
        if not isinstance(node.get(section), dict):
            node[section] = {}
        node = node[section]
    node[path[-1]] = value
    same = json.dumps(canonical(other), sort_keys=True) == json.dumps(canonical(recipe), sort_keys=True)
    assert (digest(other) == digest(recipe)) == same


@pytest.mark.parametrize("wrong", [object(), float("nan"), float("inf"), {1, 2}, print])
def test_what_is_not_plain_is_refused_by_its_key(wrong: Any) -> None:
    with pytest.raises(RecipeError, match=r"^model\.layers\[\] is "):
        digest({"model": {"layers": [wrong]}})


def test_differences_name_keys_and_values() -> None:
    other = changed("data.percent", 5)
    other["train"]["ema"] = 0.999
    other["data"]["workers"] = 99
    del other["model"]["num_classes"]
    assert differences(RECIPE, other) == [
        ("model.num_classes", 80, None),
        ("data.percent", 1, 5),
        ("train.ema", None, 0.999),
    ]
    assert differences(RECIPE, RECIPE) == []


def test_an_absent_key_differs_from_one_that_is_none_and_one_from_true() -> None:
    assert differences({"a": None}, {}) == [("a", None, None)]
    assert differences({"a": 1}, {"a": True}) == [("a", 1, True)]


def test_flat_keys_keep_empty_sections() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": 1}]}) == {"a.b.c": 1, "a.d": {}, "e": [{"f": 1}]}


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(item) for key, item in reversed(value.items())}
    return [_reversed(item) for item in value] if isinstance(value, list) else value
