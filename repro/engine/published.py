"""Published weights: found in a folder, or downloaded into it once, checked, and given our parameter names.

A path in place of a URL is a file of one's own. Its SHA-256 must then be given whole: a path does not say what the file
holds, and a stage is named by what it is made from.
"""

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
from repro.errors import StageError, did_you_mean
from repro.modeling import timm_backbone
from repro.weights import pickles

log = logging.getLogger(__name__)


def weights(source: Mapping[str, Any], folder: Path) -> dict[str, Tensor]:
    """A published state dictionary under our names.

    Args:
        source: ``url``, or the absolute path of a file; ``sha256``, the file's hash, or as many of its first digits as
            are published, or None; ``key``, under which the file holds the state dictionary, or None if it is one;
            ``family``, a module of `repro.weights`. It may have a ``prefix``: only weights whose names begin with it
            are taken, without it; and ``file``, what to call the file if its URL does not say.
        folder: where the file is or is put.

    Raises:
        StageError: it is not there and cannot be downloaded, or is not the file that was published.
    """
    path = fetch(source["url"], source["sha256"], folder, source.get("file"))
    state = pickles.read(path) if path.suffix == ".pkl" else checkpoint.load_published(path)
    if source["key"] is not None:
        if source["key"] not in state:
            raise StageError(f"{path} has no {source['key']!r}. {did_you_mean(source['key'], map(str, state))}")
        state = state[source["key"]]
    if prefix := source.get("prefix"):
        state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if not state:
            raise StageError(f"{path} has no weights whose names begin with {prefix!r}")
    return pkgutil.resolve_name(f"repro.weights.{source['family']}:convert")(state)


def timm_weights(source: Mapping[str, Any], name: str, options: Mapping[str, Any], folder: Path) -> dict[str, Tensor]:
    """All weights of one of timm's networks.

    Args:
        source: ``url`` and ``sha256`` as for `weights`; without a URL, timm says where the network's weights are.
        name: timm's.
        options: what else the network is made with.
        folder: where the file is or is put.

    Raises:
        StageError: see `weights`; or timm knows of no such network or weights.
    """
    try:
        url = source["url"] or timm_backbone.address(name)
        file = fetch(url, source["sha256"], folder, name + Path(url).suffix)
        return timm_backbone.read_weights(name, file, options)
    except ValueError as error:
        raise StageError(str(error)) from error


def fingerprint(source: Mapping[str, Any], folder: Path, network: str | None = None) -> dict[str, str]:
    """What a record says of the file that weights were read from: its SHA-256, which seldom was published.

    Args:
        source: see `weights`.
        folder: where the file is by now.
        network: timm's name of it, for a source without a URL.
    """
    url = source["url"] or timm_backbone.address(network or "")
    name = source.get("file") or (network and network + Path(url).suffix)
    return {"weights": f"sha256:{checkpoint.sha256(fetch(url, source['sha256'], folder, name))}"}


def fetch(url: str, sha256: str | None, folder: Path, name: str | None = None) -> Path:
    """Path of the file of a URL in ``folder``, downloaded if it is not there yet, or of a file of this machine.

    Args:
        url: URL or absolute path.
        sha256: hash to compare with, or its first digits; the whole one for a path.
        folder: where the file is or is put.
        name: of the file there; that of the URL by default.

    Raises:
        StageError: see `weights`.
    """
    path = folder / (name or url.rpartition("/")[2]) if "://" in url else _own(url, sha256)
    if not path.is_file():
        _download(url, path)
    if sha256 is not None:
        found = checkpoint.sha256(path)
        if not found.startswith(sha256):
            raise StageError(f"{path} has SHA-256 {found}, not {sha256}: {_wrong(url)}")
    return path


def _wrong(url: str) -> str:
    return (
        f"it is not {url}. Remove it and run again" if "://" in url else "it was changed, or the recipe is of another"
    )


def _own(path: str, sha256: str | None) -> Path:
    """A file of one's own, of which the recipe says what it holds."""
    file = Path(path)
    if not file.is_absolute():
        raise StageError(
            f"The recipe's url is {path!r}, neither a URL nor an absolute path (jobs run elsewhere than you)"
        )
    if not file.is_file():
        raise StageError(f"There is no file {file}")
    if sha256 is None or len(sha256) != 64:
        raise StageError(
            f"{file} is a file of your own: the recipe must give its whole sha256, by which the stage is named. "
            f"It is {checkpoint.sha256(file)}"
        )
    return file


def _download(url: str, path: Path) -> None:
    log.info("Downloading %s to %s", url, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, temporary.open("wb") as file:
            if response.headers.get_content_type() == "text/html":  # shared drives ask whether one is sure
                raise OSError("the server answers with a web page")
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
