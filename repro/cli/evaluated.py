"""How a detector is evaluated on images: what a stage, a plan or a table says of it, as a resolved recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.cli import plan_files
from repro.errors import PlanError

if TYPE_CHECKING:
    from repro.harness.plan import Stage


def by_stage(stage: Stage) -> Mapping[str, Any] | None:
    """Return the recipe of a stage that evaluates on images; None of any other."""
    return stage.recipe if stage.kind == "evaluate" and stage.recipe.get("data") else None


def by_plans(signature: str) -> Mapping[str, Any] | None:
    """Return how a stored plan evaluates a detector."""
    from repro.harness import plan as planning

    folder = plan_files.folder()
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if signature not in path.read_text(encoding="utf-8"):
            continue
        name, scale = path.stem.rsplit(".", 1)
        try:
            plan = planning.read(name, scale, folder)
        except PlanError:
            continue
        for stage in plan.stages.values():
            if signature in stage.parents.values() and (found := by_stage(stage)) is not None:
                return found
    return None


def by_tables(config: str, scale: str) -> Mapping[str, Any] | None:
    """Return how the first table that trains a recipe evaluates it on images."""
    from repro.harness import places
    from repro.harness import table as tables

    resolve = plan_files.resolver()
    for name in tables.names(places.benchmarks()):
        if config not in (places.benchmarks() / f"{name}.yaml").read_text(encoding="utf-8"):
            continue
        table = tables.load(name, places.benchmarks())
        for row, column in table.runnable_cells():
            specs: Sequence[Any] = table.cell_stages(row, column)
            if specs[-1].kind == "evaluate" and any(one.config == config for one in specs):
                recipe = resolve(specs[-1].config, specs[-1].overrides, scale).recipe
                if recipe.get("data"):
                    return recipe
    return None
