"""The loop: equal seeds give equal losses, whatever interrupts them; losses that are not finite stop it by name."""

import itertools
import json

import pytest
import torch
from fvcore.common.param_scheduler import ConstantParamScheduler
from torch import nn

from repro.engine import checkpoint, train
from repro.engine.detector import seed_everything
from repro.engine.optimizer import adamw
from repro.engine.schedule import Steps
from repro.errors import StageError

EMA = {
    "_target_": "repro.layers.ema.averaged",
    "momentum": {"_target_": "repro.layers.ema.Ramp", "final": 0.95, "steps": 3},
    "buffers": "average",
}
SETTINGS = {"clip_norm": 0.1, "amp": False, "ema": None, "checkpoint_period": 4, "log_period": 1}


class Toy(nn.Module):
    """Two losses, and dropout so that the global generator matters."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs):
        x = torch.stack([sample["x"] for sample in inputs])
        error = self.layer(self.dropout(x)).squeeze(1) - x.sum(1)
        return {"loss_square": error.square().mean(), "loss_absolute": 0.5 * error.abs().mean()}


def batches(start):
    """A pure function of the iteration; opening it draws from the global generator, as a DataLoader does."""
    torch.rand(3)
    return (batch(iteration) for iteration in itertools.count(start))


def batch(iteration):
    generator = torch.Generator().manual_seed(iteration)
    return [{"x": torch.randn(3, generator=generator)} for _ in range(4)]


def fit(output, iterations=10, stream=batches, schedule=None, **settings):
    output.mkdir(exist_ok=True)
    seed_everything(0)
    model = Toy()
    return train.fit(
        model,
        stream,
        adamw(model, lr=0.1, weight_decay=0.0, lr_factors={}),
        schedule=schedule or ConstantParamScheduler(1.0),
        iterations=iterations,
        settings=SETTINGS | settings,
        output=output,
    )


def losses(output):
    return [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]


class Killed(BaseException):
    """What no handler in the loop may catch."""


def until(last):
    """The stream, killed when the batch after ``last`` is asked for."""

    def cut(contents, start):
        for iteration, content in enumerate(contents, start):
            if iteration == last:
                raise Killed
            yield content

    return lambda start: cut(batches(start), start)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def values(entries):
    keys = ("iteration", "loss_square", "loss_absolute", "total_loss", "grad_norm", "lr")
    return [{key: entry[key] for key in keys} for entry in entries]


@pytest.mark.parametrize("ema", [None, EMA])
@pytest.mark.parametrize("killed_at", [1, 4, 6, 9])
def test_an_interrupted_run_ends_as_if_it_had_not_been(tmp_path, ema, killed_at):
    whole = fit(tmp_path / "whole", ema=ema)
    with pytest.raises(Killed):
        fit(tmp_path / "parts", stream=until(killed_at), ema=ema)
    opened = []

    def stream(start):
        opened.append(start)
        return batches(start)

    parts = fit(tmp_path / "parts", stream=stream, ema=ema)
    assert opened == [killed_at // 4 * 4]
    assert same(parts.weights, whole.weights)
    assert parts.losses == whole.losses
    assert values(losses(tmp_path / "parts")) == values(losses(tmp_path / "whole"))


def test_another_seed_gives_other_losses_and_an_equal_one_equal_losses(tmp_path):
    first, second = fit(tmp_path / "a"), fit(tmp_path / "b")
    assert same(first.weights, second.weights)
    other = fit(tmp_path / "c", stream=lambda start: batches(start + 100))
    assert not same(first.weights, other.weights)


def test_a_finished_training_is_not_repeated(tmp_path):
    first = fit(tmp_path / "a")
    again = fit(tmp_path / "a", stream=until(0))
    assert same(first.weights, again.weights)
    assert again.losses == first.losses
    assert again.seconds == pytest.approx(first.seconds, rel=0.5)


def test_the_average_lags_behind_the_weights(tmp_path):
    plain, averaged = fit(tmp_path / "plain"), fit(tmp_path / "ema", ema=EMA)
    assert plain.losses == averaged.losses
    assert not same(plain.weights, averaged.weights)
    seed_everything(0)
    start = Toy().layer.weight
    assert (averaged.weights["layer.weight"] - start).norm() < (plain.weights["layer.weight"] - start).norm()


def test_gradients_are_clipped_by_their_total_norm(tmp_path, monkeypatch):
    seen = []
    real = torch.optim.AdamW.step

    def step(self, *args, **kwargs):
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        seen.append(torch.stack([grad.norm() for grad in grads]).norm().item())
        return real(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    fit(tmp_path / "a", iterations=3)
    assert len(seen) == 3
    assert max(seen) <= 0.1 * 1.001
    assert all(entry["grad_norm"] > 0.1 for entry in losses(tmp_path / "a"))  # what is logged is the norm before


def test_the_rate_follows_the_schedule(tmp_path):
    fit(tmp_path / "a", schedule=Steps([0.5, 0.8]))
    assert [entry["lr"] for entry in losses(tmp_path / "a")] == pytest.approx([0.1] * 5 + [0.01] * 3 + [0.001] * 2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_and_changes_no_weight(tmp_path, bad):
    def poisoned(start):
        for iteration, content in enumerate(batches(start), start):
            if iteration == 6:
                content[0]["x"][:] = bad
            yield content

    with pytest.raises(StageError, match=r"Iteration 6: loss_absolute is (nan|inf), loss_square is (nan|inf)"):
        fit(tmp_path / "a", stream=poisoned)
    with pytest.raises(StageError, match="Iteration 6"):  # run again it stops at the same place, from sound weights
        fit(tmp_path / "a", stream=poisoned)
    assert checkpoint.latest(tmp_path / "a")["iteration"] == 4


def test_progress_is_reported(tmp_path):
    fit(tmp_path / "a")
    progress = json.loads((tmp_path / "a" / "progress.json").read_text())
    assert (progress["iteration"], progress["iterations"], progress["phase"]) == (10, 10, "train")
    assert set(progress["losses"]) == {"loss_square", "loss_absolute"}
    assert progress["eta_seconds"] == 0
    assert list((tmp_path / "a").glob("events.out.tfevents.*"))


def test_a_checkpoint_of_other_processes_is_refused(tmp_path):
    with pytest.raises(Killed):
        fit(tmp_path / "a", stream=until(6))
    (path,) = checkpoint.periodic(tmp_path / "a")
    state = checkpoint.load(path)
    state["random"] *= 2
    checkpoint.save(state, path)
    with pytest.raises(StageError, match="written by 2 processes"):
        fit(tmp_path / "a")
