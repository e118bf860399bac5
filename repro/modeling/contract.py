"""What Detectron2's own meta-architectures lack of the detector contract, in two pieces that do not touch their code.

They log to an event storage and stop where there is none; and they pad the images of a batch to one size in inference,
so that biases in the padding reach the features at an image's border and a result depends on its neighbours, as
published DETRs do too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from detectron2.utils.events import EventStorage, get_event_storage


@contextmanager
def event_storage() -> Iterator[EventStorage]:
    """The trainer's storage, or one that nobody reads where no trainer runs."""
    try:
        current = get_event_storage()
    except AssertionError:
        with EventStorage() as unread:
            yield unread
    else:
        yield current


def by_size(infer: Callable[[list[Any]], list[Any]], inputs: Sequence[dict[str, Any]]) -> list[Any]:
    """Results of ``infer``, which takes images of one size at a time; in the order of ``inputs``."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, entry in enumerate(inputs):
        groups[tuple(entry["image"].shape[1:])].append(index)
    results: dict[int, Any] = {}
    for indices in groups.values():
        results |= zip(indices, infer([inputs[index] for index in indices]), strict=True)
    return [results[index] for index in range(len(inputs))]
