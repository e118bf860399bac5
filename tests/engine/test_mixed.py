"""The data of a semi-supervised training: which images stand on which side, and what a batch of them is."""

from __future__ import annotations

import itertools
import json

import pytest

from repro.data import datasets, splits
from repro.engine import config, inputs, mixed
from repro.errors import DataError

RECIPE = """
from repro.configs.common.run import run
from repro.configs.common.semi import semi as data
from repro.configs.common.semi import semi_scales as scales
"""


@pytest.fixture
def work_of(bench, tmp_path):
    """Makes the work of a stage that has data and nothing else."""
    file = tmp_path / "recipe.py"
    file.write_text(RECIPE)

    def make(settings=None, **changes):
        work = bench.work("train", recipe=str(file), settings=settings, **changes)
        work.output.mkdir(parents=True)
        return work

    return make


def ids(records):
    return [record["image_id"] for record in records]


def test_the_share_is_stacs_and_the_rest_is_without_labels(work_of, datasets_root):
    work = work_of({"data.drop_empty": False}, seed=3)
    pools = inputs.pools(work)
    every = ids(datasets.load("shapes_smoke_train", datasets_root))
    assert ids(pools.labelled) == splits.stac(every, 25, 3)
    assert sorted(ids(pools.labelled) + ids(pools.unlabelled)) == every
    assert not any(record["annotations"] for record in pools.unlabelled)
    assert any(record["annotations"] for record in pools.labelled)
    kept = json.loads((work.output / inputs.FILES["images"]).read_text())
    assert (kept["image_ids"], kept["split"], kept["seed"]) == (ids(pools.labelled), "stac", 3)


def test_images_without_objects_and_small_ones_are_left_out(work_of, monkeypatch):
    read = datasets.read

    def with_one_bare(name, *arguments, **options):
        loaded = read(name, *arguments, **options)
        return loaded._replace(records=[{**loaded.records[0], "annotations": []}, *loaded.records[1:]])

    monkeypatch.setattr(datasets, "read", with_one_bare)
    whole = {"data.percent": 100, "data.unlabelled.dataset": "shapes_unlabelled_smoke"}
    pools = inputs.pools(work_of(whole))
    empty = inputs.pools(work_of(whole | {"data.drop_empty": False}))
    assert ids(pools.labelled) == ids(empty.labelled)[1:]
    sides = sorted(min(record["height"], record["width"]) for record in empty.labelled)
    smaller = inputs.pools(work_of(whole | {"data.min_side": sides[1] + 1}))
    assert min(min(record["height"], record["width"]) for record in smaller.labelled) > sides[1]
    with pytest.raises(DataError, match="sides of 1000 pixels"):
        inputs.pools(work_of({"data.min_side": 1000}))


def test_another_set_may_be_the_unlabelled_one(work_of):
    work = work_of({"data.unlabelled.dataset": "shapes_unlabelled_smoke", "data.percent": 100})
    pools = inputs.pools(work)
    assert len(pools.unlabelled) == 16 and not set(ids(pools.unlabelled)) & set(ids(pools.labelled))
    assert not (work.output / inputs.FILES["images"]).exists()
    with pytest.raises(DataError, match="leave no rest"):
        inputs.pools(work_of({"data.percent": 100}))


def test_a_list_of_images_is_taken_and_its_content_enters_the_name_of_the_stage(bench, tmp_path):
    file = tmp_path / "recipe.py"
    pattern = str(tmp_path / "{fold}@{percent}.json")
    file.write_text(RECIPE + f"data = data | {{'split': {pattern!r}}}\n")
    splits.save(tmp_path / "1@25.json", [2, 5, 9])
    work = bench.work("train", recipe=str(file))
    work.output.mkdir(parents=True)
    assert set(ids(inputs.pools(work).labelled)) <= {2, 5, 9}
    assert splits.load(work.output / inputs.FILES["images"]) == [2, 5, 9]
    name = f"split:25:{pattern}"
    assert set(work.stage.datasets) == {"shapes_smoke_train", name}
    splits.save(tmp_path / "1@25.json", [2, 5])
    assert bench.work("train", recipe=str(file)).stage.signature != work.stage.signature
    with pytest.raises(DataError, match="the plan was made with"):
        datasets.verify(name, work.stage.datasets[name])


def test_batches_hold_both_kinds_and_go_on_where_they_stopped(work_of):
    work = work_of()
    start = mixed.batches(work.stage.recipe, inputs.pools(work), 1)
    found = list(itertools.islice(start(0), 4))
    for samples in found:
        kinds = ["weak" in sample for sample in samples]
        assert len(samples) == 5 and 0 < sum(kinds) < 5
        assert all(("instances" in sample) != kind for sample, kind in zip(samples, kinds, strict=True))
    assert [[s["image_id"] for s in samples] for samples in itertools.islice(start(2), 2)] == [
        [s["image_id"] for s in samples] for samples in found[2:]
    ]


@pytest.mark.parametrize("scale", config.SCALES)
def test_the_recipe_resolves_at_every_scale(tmp_path, scale):
    file = tmp_path / "recipe.py"
    file.write_text(RECIPE + "from repro.configs.common.semi import full_scales\n")
    recipe = config.resolve(str(file), {"data.unlabelled.dataset": "coco_2017_unlabeled"}, scale)
    assert set(recipe.datasets) == {recipe.recipe["data"]["dataset"], "coco_2017_unlabeled"}
