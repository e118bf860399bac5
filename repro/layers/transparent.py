"""Wrappers whose weights are saved under the names that what they wrap has alone.

A pretraining task wraps a detector; fine-tuning builds the detector without it. With ``backbone…`` instead of
``detector.backbone…`` in its checkpoints the one's weights are the other's, after dropping what belongs to the task.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def make_transparent(module: nn.Module, child: str) -> None:
    """Leave ``child.`` out of the names in a module's state dictionary, when it is made and when it is loaded.

    Call it after all children are there: in loading, names that begin with another child's belong to that child.

    Args:
        module: the wrapper; it has no parameters of its own beside those of its children.
        child: name of the wrapped child.

    Raises:
        ValueError: the wrapped child has children of the same names as the wrapper.
    """
    others = {name for name, _ in module.named_children()} - {child}
    if both := others & {name for name, _ in getattr(module, child).named_children()}:
        raise ValueError(f"{child} and the module that wraps it both have {', '.join(sorted(both))}")
    module._transparent = child
    module.register_state_dict_post_hook(_hide)
    module.register_load_state_dict_pre_hook(_find)


def _hide(module: nn.Module, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    old = f"{prefix}{module._transparent}."
    for key in [key for key in state_dict if key.startswith(old)]:
        state_dict[prefix + key.removeprefix(old)] = state_dict.pop(key)


def _find(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    own = tuple(f"{prefix}{name}." for name, _ in module.named_children())
    for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(own)]:
        state_dict[f"{prefix}{module._transparent}.{key.removeprefix(prefix)}"] = state_dict.pop(key)
