"""What a stage takes over: strictly what its recipe says, from parents that are what their records say."""

import dataclasses

import pytest
import torch
from torch import nn

from repro.engine import checkpoint, config, parents
from repro.engine.parents import Parent, initialise
from repro.errors import StageError
from repro.harness import record


class Detector(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.class_embed = nn.ModuleList([nn.Linear(2, classes)])


@pytest.fixture
def parent(tmp_path):
    def make(kind, weights):
        checkpoint.save({"model": weights}, tmp_path / checkpoint.FINAL)
        return {kind: Parent(kind, kind, tmp_path, {})}

    return make


def test_a_backbone_goes_where_the_recipe_says(parent):
    model, source = Detector(), nn.Linear(2, 2)
    initialise(model, {"encoder": {"into": {"backbone": []}}}, parent("encoder", source.state_dict()))
    assert torch.equal(model.backbone.weight, source.weight)


def test_a_detector_is_taken_over_but_for_what_is_dropped(parent):
    model, source = Detector(classes=3), Detector(classes=91)
    weights = source.state_dict() | {"embedding_head.weight": torch.zeros(1)}
    before = model.class_embed[0].weight.clone()
    initialise(model, {"pretrain": {"drop": ["class_embed", "embedding_head"]}}, parent("pretrain", weights))
    assert torch.equal(model.backbone.weight, source.backbone.weight)
    assert torch.equal(model.class_embed[0].weight, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("backbone.bias"), r"1 missing \(backbone\.bias"),
        (lambda weights: weights.update(extra=torch.zeros(1)), r"1 unexpected \(extra"),
        (lambda weights: weights.update({"backbone.bias": torch.zeros(5)}), r"1 of another shape \(backbone\.bias"),
    ],
)
def test_whatever_else_does_not_fit_is_an_error(parent, change, message):
    weights = dict(Detector().state_dict())
    change(weights)
    with pytest.raises(StageError, match=message):
        initialise(Detector(), {"pretrain": {"drop": ["class_embed"]}}, parent("pretrain", weights))


def test_weights_that_the_recipe_does_not_mention_are_an_error(parent):
    with pytest.raises(StageError, match="says nothing"):
        initialise(Detector(), {}, parent("pretrain", Detector().state_dict()))


def test_finetuning_takes_all_of_the_pretrained_detector_but_the_heads_it_should_not(chain):
    """The real thing: what the two published losses of DETReg trained is what fine-tuning starts from."""
    recipe = chain["finetune"].stage.recipe
    model = config.build(recipe["model"])
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    found = parents.of(chain["finetune"])
    initialise(model, recipe["init"], found)
    pretrained = found["pretrain"].weights()
    for name, value in model.state_dict().items():
        expected = fresh[name] if name.startswith("class_embed") else pretrained[name]
        assert torch.equal(value, expected), name


def test_pretraining_starts_from_the_encoder_on_both_sides(chain):
    recipe = chain["pretrain"].stage.recipe
    model = config.build(recipe["model"])
    found = parents.of(chain["pretrain"])
    initialise(model, recipe["init"], found)
    encoder = found["encoder"].weights()
    for part in (model.detector.backbone, model.target_encoder):
        for name, value in part.state_dict().items():
            assert torch.equal(value, encoder[name]), name
    assert any(name.startswith("res5") for name in model.detector.backbone.state_dict())


def test_missing_and_exchanged_files_of_parents_are_all_named(chain, bench):
    work = bench.elsewhere(chain["pretrain"], "broken")
    assert set(parents.of(work)) == {"encoder", "propose"}
    encoder, propose = (work.parent_output(name) for name in ("encoder", "propose"))
    for folder in (encoder, propose):
        original = folder.resolve()
        folder.unlink()
        folder.mkdir()
        for file in original.iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
    checkpoint.save({"model": {"w": torch.zeros(1)}}, encoder / checkpoint.FINAL)
    (propose / "proposals.npz").unlink()
    with pytest.raises(StageError) as error:
        parents.of(work)
    assert "is not the file that its record describes" in str(error.value)
    assert f"has no {propose / 'proposals.npz'}" in str(error.value)


def test_files_of_one_record_are_enough(chain, bench):
    """A repeat that was merged from another machine describes files that are not here; those of the first are."""
    work = bench.elsewhere(chain["evaluate"], "repeated")
    signature = work.stage.parents["finetune"]
    first = record.latest(signature, work.records)
    there = {"file": "more.json", "sha256": "0" * 64, "bytes": 1}
    record.write(dataclasses.replace(first, artifacts={"more": there}), work.records)
    assert set(parents.of(work)) == {"finetune"}


def test_a_parent_that_never_ran_is_named(chain, tmp_path):
    work = dataclasses.replace(chain["pretrain"], output_root=tmp_path)
    with pytest.raises(StageError, match=r"parent encoder .* run that stage here first"):
        parents.of(work)
