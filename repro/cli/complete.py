"""What the shell offers when TAB is pressed: from names of files and one table, never from parsing them all."""

from __future__ import annotations

import typer

from repro.cli.names import SCALES
from repro.errors import ReproError


def scales(incomplete: str) -> list[str]:
    """Names of scales."""
    return [name for name in SCALES if name.startswith(incomplete)]


def tables(incomplete: str) -> list[str]:
    """Full names of tables; a bare ``table5`` is completed to all that are called so."""
    from repro.harness import places, table

    known = table.names(places.benchmarks())
    return [name for name in known if name.startswith(incomplete) or name.partition("/")[2].startswith(incomplete)]


def figures(incomplete: str) -> list[str]:
    """As ``tables``, of what is drawn."""
    return [name for name in tables(incomplete) if name.partition("/")[2].startswith("figure")]


def addresses(incomplete: str) -> list[str]:
    """Tables, and behind a whole table's name its rows, then its columns."""
    known = tables("")
    name = next((name for name in known if incomplete.startswith(f"{name}/")), None)
    if name is None:
        return [f"{name}/" for name in tables(incomplete)]
    row, slash, _ = incomplete[len(name) + 1 :].partition("/")
    if not slash:
        return [f"{name}/{one}/" for one in ids(name, "rows") if one.startswith(row)]
    return [one for column in ids(name, "columns") if (one := f"{name}/{row}/{column}").startswith(incomplete)]


def rows(ctx: typer.Context, incomplete: str) -> list[str]:
    """Rows of the table on the command line, behind those that are listed already."""
    return _listed(ctx, "rows", incomplete)


def columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """As ``rows``."""
    return _listed(ctx, "columns", incomplete)


def clusters(incomplete: str) -> list[str]:
    """Names of cluster files."""
    from repro.harness import cluster

    return [name for name in cluster.names() if name.startswith(incomplete)]


def nightlies(incomplete: str) -> list[str]:
    """Names of nightly lists."""
    from repro.harness import places

    found = sorted(path.stem for path in (places.benchmarks() / "nightly").glob("*.yaml"))
    return [name for name in found if name.startswith(incomplete)]


def datasets(incomplete: str) -> list[str]:
    """Names of data sets."""
    from repro.data import datasets

    return [name for name in datasets.names() if name.startswith(incomplete)]


def families(incomplete: str) -> list[str]:
    """Families of data sets: the files of ``repro/data/datasets``, unread."""
    import pkgutil
    from importlib.util import find_spec

    spec = find_spec("repro.data.datasets")
    found = pkgutil.iter_modules(spec.submodule_search_locations if spec else None)
    return sorted(module.name for module in found if module.name.startswith(incomplete))


def ids(name: str, block: str) -> list[str]:
    """Ids of a table's ``rows`` or ``columns``; empty when the table has faults."""
    from repro.harness import places, table

    try:
        found = table.load(name, places.benchmarks())
    except ReproError:
        return []
    return [one.id for one in (found.rows if block == "rows" else found.columns)]


def _listed(ctx: typer.Context, block: str, incomplete: str) -> list[str]:
    from repro.cli.names import table_name

    done, comma, start = incomplete.rpartition(",")
    # While an option still lacks its value, the words before it are not assigned to arguments yet.
    words = [ctx.params.get("table"), ctx.params.get("address"), *ctx.args]
    given = next((str(word) for word in words if word), None)
    if given is None:
        return []
    try:
        found = ids(table_name(given), block)
    except ReproError:
        return []
    return [f"{done}{comma}{one}" for one in found if one.startswith(start)]
