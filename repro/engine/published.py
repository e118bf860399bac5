"""Published weights: found in a folder, or downloaded into it once, checked, and given our parameter names."""

from __future__ import annotations

import logging
import os
import pkgutil
import shutil
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from repro.engine import checkpoint
from repro.errors import StageError

log = logging.getLogger(__name__)


def weights(source: Mapping[str, Any], folder: Path) -> dict[str, Tensor]:
    """A published state dictionary under our names.

    Args:
        source: ``url``; ``sha256``, the file's hash, or as many of its first digits as are published, or None;
            ``key``, under which the file holds the state dictionary, or None if it is one; ``family``, a module of
            `repro.weights`.
        folder: where the file is or is put.

    Raises:
        StageError: it is not there and cannot be downloaded, or is not the file that was published.
    """
    state = checkpoint.load(fetch(source["url"], source["sha256"], folder))
    if source["key"] is not None:
        state = state[source["key"]]
    return pkgutil.resolve_name(f"repro.weights.{source['family']}:convert")(state)


def fetch(url: str, sha256: str | None, folder: Path) -> Path:
    """Path of the file of a URL in ``folder``, downloaded if it is not there yet.

    Raises:
        StageError: see `weights`.
    """
    path = folder / url.rpartition("/")[2]
    if not path.is_file():
        _download(url, path)
    if sha256 is not None:
        found = checkpoint.sha256(path)
        if not found.startswith(sha256):
            raise StageError(f"{path} has SHA-256 {found}, not {sha256}: it is not {url}. Remove it and run again")
    return path


def _download(url: str, path: Path) -> None:
    log.info("Downloading %s to %s", url, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, temporary.open("wb") as file:
            shutil.copyfileobj(response, file)
            wanted = int(response.headers.get("Content-Length", file.tell()))
            if file.tell() != wanted:
                raise OSError(f"the connection ended after {file.tell()} of {wanted} bytes")
        temporary.replace(path)
    except (OSError, urllib.error.URLError) as error:
        raise StageError(
            f"{url} cannot be downloaded ({error}). "
            f"On a machine that reaches it, download it yourself and put it at {path}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
