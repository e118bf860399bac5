"""Stages to run: any kind of stage at the smallest scale, in a folder of the test's own."""

import dataclasses
import functools
import http.server
import json
import threading
from pathlib import Path

import pytest

from repro.engine import config, stage
from repro.harness import record
from repro.harness.plan import Stage
from repro.harness.signature import signature
from repro.harness.work import Work

RECIPES = {
    "encoder": "common/encoder_swav.py",
    "propose": "detreg/propose_coco.py",
    "pretrain": "detreg/pretrain_coco.py",
    "finetune": "detreg/finetune_coco_percent.py",
    "evaluate": "common/evaluate_coco_val2017.py",
}


@dataclasses.dataclass
class Bench:
    """Makes and runs stages at scale smoke; data sets are shared by all tests."""

    root: Path
    datasets: Path

    def work(self, kind, parents=(), *, recipe=None, seed=1, settings=None, **changes):
        """Work of a stage; ``settings`` are laid over the resolved recipe, past the scale's values."""
        resolved = config.resolve(recipe or RECIPES[kind], {}, "smoke")
        assert config.apply(resolved.recipe, settings or {}, "test") == []
        names = {parent.stage.kind: parent.stage.signature for parent in parents}
        key = signature(kind, resolved.recipe, seed, names, resolved.datasets)
        made = Stage(
            signature=key,
            kind=kind,
            name=kind,
            label=f"test/{kind}",
            config=recipe or RECIPES[kind],
            recipe=resolved.recipe,
            seed=seed,
            parents=names,
            datasets=resolved.datasets,
            scale="smoke",
        )
        return Work(
            stage=dataclasses.replace(made, **changes),
            output_root=self.root / "out",
            records=self.root / "records",
            datasets_root=self.datasets,
        )

    def run(self, *args, **kwargs):
        """Run it and return the work; its record is `record_of`."""
        work = self.work(*args, **kwargs)
        stage.run(work)
        return work

    def elsewhere(self, work, name):
        """The same stage, with its parents' files and records, to be run in another folder."""
        root = self.root / name
        for signature_ in work.stage.parents.values():
            (root / "out").mkdir(parents=True, exist_ok=True)
            (root / "records").mkdir(parents=True, exist_ok=True)
            (root / "out" / signature_).symlink_to(work.output_root / signature_)
            file = f"{signature_}.json"
            (root / "records" / file).symlink_to(work.records / file)
        return dataclasses.replace(work, output_root=root / "out", records=root / "records")


def record_of(work):
    """The newest record of a stage."""
    return record.latest(work.stage.signature, work.records)


def progress_of(work):
    """What the stage told those who watch."""
    return json.loads((work.output / "progress.json").read_text())


@pytest.fixture(scope="session")
def datasets_root(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture
def bench(tmp_path, datasets_root):
    return Bench(tmp_path, datasets_root)


@pytest.fixture(scope="session")
def chain(tmp_path_factory, datasets_root):
    """Every kind of stage once, each on the one before: kind to work."""
    bench = Bench(tmp_path_factory.mktemp("chain"), datasets_root)
    works = {kind: bench.run(kind) for kind in ("encoder", "propose")}
    works["pretrain"] = bench.run("pretrain", [works["encoder"], works["propose"]])
    works["finetune"] = bench.run("finetune", [works["pretrain"]])
    works["evaluate"] = bench.run("evaluate", [works["finetune"]])
    return works


@pytest.fixture
def server(tmp_path):
    """A folder and the URL that serves it."""
    folder = tmp_path / "published"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
