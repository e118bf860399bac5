"""Which stages share a job array, and what each array waits for.

All elements of an array share one set of resources and one dependency string, so stages are taken level by level
(parents before children) and kind by kind. A dependency must not be wider than the truth: were an array of
evaluations to wait for *all* fine-tunings, one failure would cancel them all. Two forms are exact, and per group of
stages the one that needs fewer arrays is taken:

- stages that wait for the very same jobs form an array with ``afterok`` on those (sixty fine-tunings after one
  pretraining);
- stages that wait for one element each of the same array take the *same indices* in theirs, with ``aftercorr``
  (sixty evaluations after sixty fine-tunings); SLURM then pairs them one to one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")
Parents = Mapping[str, Collection[str]]  # signature to signatures


@dataclass(frozen=True)
class Group:
    """Stages for one ``sbatch`` call: array index to signature, and SLURM's dependency string."""

    elements: dict[int, str]
    after: str


class _Paired(NamedTuple):
    """A stage that may be paired with one ``element`` of ``array``; ``rest`` are the other jobs it waits for."""

    signature: str
    array: str
    element: int
    rest: frozenset[str]


def levels(signatures: Sequence[str], parents: Parents) -> list[list[str]]:
    """Return the stages in steps, each after all of its parents among them; the order within a step is kept."""
    depth: dict[str, int] = {}
    left = list(signatures)
    while left:
        wanted = set(left)
        ready = [s for s in left if not wanted & set(parents[s])]
        if not ready:
            raise ValueError(f"stages wait for each other: {', '.join(sorted(left))}")
        for signature in ready:
            depth[signature] = 1 + max((depth[p] for p in parents[signature] if p in depth), default=-1)
        left = [s for s in left if s not in depth]
    steps: list[list[str]] = [[] for _ in range(1 + max(depth.values(), default=-1))]
    for signature in signatures:
        steps[depth[signature]].append(signature)
    return steps


def groups(signatures: Sequence[str], parents: Parents, jobs: Mapping[str, str], limit: int) -> Iterator[Group]:
    """Share out one level's stages of equal resources.

    Args:
        parents: Of each stage.
        jobs: Signature to live job (``12`` or ``12_3``); a parent without one needs no waiting for.
        limit: How many elements an array may have.
    """
    waits = {s: frozenset(jobs[p] for p in parents[s] if p in jobs) for s in signatures}
    exact: dict[frozenset[str], list[str]] = defaultdict(list)
    pairs: dict[tuple[str, frozenset[str]], list[_Paired]] = defaultdict(list)
    arrays = Counter(job.partition("_")[0] for wait in waits.values() for job in wait if "_" in job)
    for signature in signatures:
        if pair := _pair(signature, waits[signature], arrays):
            pairs[pair.array, pair.rest].append(pair)
        else:
            exact[waits[signature]].append(signature)
    for (array, rest), paired in pairs.items():
        uses = Counter(pair.element for pair in paired)
        # As many arrays as an element has children when paired; as many as there are elements when not.
        if max(uses.values()) < len(uses):
            yield from _corresponding(array, rest, paired, limit)
        else:
            for pair in paired:
                exact[waits[pair.signature]].append(pair.signature)
    for wait, members in exact.items():
        for chunk in _chunks(members, limit):
            yield Group(dict(enumerate(chunk)), dependency(wait))


def dependency(jobs: Iterable[str], array: str | None = None) -> str:
    """Return SLURM's dependency string: after success of all ``jobs``, and of one's own index of ``array``.

    >>> dependency(["12_3", "7"], array="9")
    'afterok:7:12_3,aftercorr:9'
    """
    ordered = sorted(jobs, key=lambda job: [int(part) for part in job.split("_")])
    parts = ["afterok:" + ":".join(ordered)] if ordered else []
    return ",".join([*parts, f"aftercorr:{array}"] if array else parts)


def indices(elements: Collection[int]) -> str:
    """Write array indices as ``sbatch --array`` takes them.

    >>> indices([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    runs: list[list[int]] = []
    for index in sorted(elements):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def _pair(signature: str, wait: frozenset[str], arrays: Counter[str]) -> _Paired | None:
    """Choose the array to be paired with: of those it waits for, the one that most of its siblings wait for."""
    candidates = [job for job in wait if "_" in job]
    if not candidates:
        return None
    job = max(candidates, key=lambda job: (arrays[job.partition("_")[0]], job))
    array, _, index = job.partition("_")
    return _Paired(signature, array, int(index), wait - {job})


def _corresponding(array: str, rest: frozenset[str], paired: Sequence[_Paired], limit: int) -> Iterator[Group]:
    rounds: list[dict[int, str]] = []
    for pair in paired:
        free = next((taken for taken in rounds if pair.element not in taken), None)
        if free is None:
            rounds.append(free := {})
        free[pair.element] = pair.signature
    for taken in rounds:
        for chunk in _chunks(sorted(taken), limit):
            if len(chunk) == 1:  # a plain job has no index to correspond with
                yield Group({0: taken[chunk[0]]}, dependency({*rest, f"{array}_{chunk[0]}"}))
            else:
                yield Group({index: taken[index] for index in chunk}, dependency(rest, array))


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
