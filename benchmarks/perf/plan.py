"""How long planning takes: a table of 10,000 stages, recipes already resolved. Prints medians over many rounds.

python benchmarks/perf/plan.py [--stages 10000] [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from repro.harness import plan as planning
from repro.harness import table as tables
from repro.harness.plan import Resolved
from repro.harness.table import Column, Paper, Row, StageSpec, Table

SEEDS = 50
ROWS = 10


def table(stages: int) -> Table:
    """A table of about so many stages: a fine-tuning and an evaluation a cell and seed, the rest shared."""
    columns = max(1, stages // (2 * SEEDS * ROWS))
    specs = (
        StageSpec("encoder", "encoder", "common/encoder.py", seeds=(0,)),
        StageSpec("pretrain", "pretrain", "paper/pretrain.py", seeds=(0,)),
        StageSpec("finetune", "finetune", "paper/finetune.py"),
        StageSpec("evaluate", "evaluate", "common/evaluate.py"),
    )
    return Table(
        name="perf/table1",
        path=Path("table1.yaml"),
        title="",
        paper=Paper(),
        metric="coco_box.AP",
        seeds=tuple(range(SEEDS)),
        stages=specs,
        rows=tuple(Row(f"r{i}", f"r{i}", stages={"pretrain": {"model.width": i}}) for i in range(ROWS)),
        columns=tuple(Column(f"c{i}", f"c{i}", stages={"finetune": {"data.percent": i}}) for i in range(columns)),
    )


def resolve(config: str, overrides: Mapping[str, Any], scale: str) -> Resolved:
    """A recipe of a real one's size (some 300 values), made without reading a file."""
    layers = {f"layer{i}": {"_target_": "repro.modeling.Layer", "width": 256, "rate": 0.1, "sizes": [1, 2, 3]}
              for i in range(60)}  # fmt: skip
    return Resolved({"config": config, "scale": scale, "model": layers, "set": dict(overrides)}, {"coco": "f" * 8})


def median(rounds: int, call: Callable[[], object]) -> str:
    """Median and quartiles of the seconds that a call takes."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    low, middle, high = statistics.quantiles(seconds, n=4)
    return f"{middle:.3f} s (quartiles {low:.3f} to {high:.3f}, {rounds} rounds)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    declared = table(options.stages)
    made = planning.plan(declared, resolve)
    print(f"{len(made.stages)} stages, {len(made.cells)} cells, {tables.SCALES[0]} scale")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        print("plan ", median(options.rounds, lambda: planning.plan(declared, resolve)))
        print("write", median(options.rounds, lambda: planning.write(made, place)))
        size = planning.path_of(made.table, made.scale, place).stat().st_size
        print("read ", median(options.rounds, lambda: planning.read(made.table, made.scale, place)))
        print(f"the plan's file has {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
