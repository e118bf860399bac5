"""Making a data set that lies elsewhere known under the folder of data sets, by links or copies."""

from __future__ import annotations

import shutil
from pathlib import Path

from repro.errors import DataError, collect


def adopt(source: Path, target: Path, names: list[str], copy: bool) -> list[str]:
    """Link (or copy) the parts of a data set into `target`; parts that are there already are left alone.

    Args:
        source: Folder that holds the parts.
        target: Folder that shall hold them.
        names: The parts, files or folders.
        copy: Copy instead of linking.

    Returns:
        One line a part that says what was done.

    Raises:
        DataError: `source` lacks a part.
    """
    source = source.expanduser().resolve()
    faults = [f"{source / name} does not exist" for name in names if not (source / name).exists()]
    collect(faults, f"data set in {source}", DataError)
    target.mkdir(parents=True, exist_ok=True)
    return [_adopt_one(source / name, target / name, copy) for name in names]


def _adopt_one(source: Path, target: Path, copy: bool) -> str:
    if target.exists():
        return f"{target} is there already"
    target.unlink(missing_ok=True)  # a link that leads nowhere
    if not copy:
        target.symlink_to(source)
        return f"linked {target} → {source}"
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    if source.is_dir():
        shutil.copytree(source, temporary)
    else:
        shutil.copy2(source, temporary)
    temporary.rename(target)
    return f"copied {source} to {target}"
