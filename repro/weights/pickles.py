"""Detectron2's pickled weights (`*.pkl`): dictionaries of NumPy arrays, read without running what a pickle may hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from repro.errors import StageError

ALLOWED = {
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
}


class _Arrays(pickle.Unpickler):
    """Builds NumPy arrays and plain values, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read(path: Path) -> dict[str, Any]:
    """Content of the file, with arrays as tensors.

    Raises:
        StageError: it is not there, is not a pickle, or holds anything but arrays and plain values.
    """
    try:
        with path.open("rb") as file:
            content = _Arrays(file, encoding="latin1").load()  # written by Python 2
    except Exception as error:  # a broken pickle raises whatever its bytes happen to say
        raise StageError(f"{path} is not a file of weights that can be read: {error}") from error
    return _tensors(content)


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tensors(item) for name, item in value.items()}
    return torch.from_numpy(value.copy()) if hasattr(value, "__array__") and getattr(value, "ndim", 0) else value
