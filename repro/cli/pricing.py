"""What a plan costs, as `repro plan` says it: line by line with the reason, the sum, and what nobody knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.cli import output

if TYPE_CHECKING:
    from repro.harness.cost import Total
    from repro.harness.library import Library
    from repro.harness.plan import Stage


def priced(stages: Iterable[Stage], known: Library) -> dict[str, Any]:
    """Return the bill of stages.

    Returns:
        ``lines``: kind, number of stages, the cost of each with its basis, and of all together; ``totals``: a sum for
        each unit, by kind of stage and by basis; ``unknown``: how many stages of which kind are in no sum.
    """
    from repro.harness import cost

    items = cost.bill(stages, known)
    unknown: Counter[str] = Counter()
    for item in items:
        unknown[item.kind] += item.stages if item.each.basis == "unknown" else 0
    return {
        "lines": [
            {
                "kind": item.kind,
                "stages": item.stages,
                "low": item.low,
                "high": item.high,
                "each": output.plain(item.each),
            }
            for item in items
        ],
        "totals": [{"unit": unit, **_summed(total)} for unit, total in cost.total(items).items()],
        "unknown": {kind: count for kind, count in unknown.items() if count},
    }


def _summed(total: Total) -> dict[str, Any]:
    parts = {f"by_{key}": total.by(key) for key in ("kind", "basis")}
    sums = {key: {name: [one.low, one.high] for name, one in found.items()} for key, found in parts.items()}
    return {"low": total.low, "high": total.high, **sums}


def lines(cost: Mapping[str, Any]) -> list[str]:
    """Write the bill: a line for each kind of stage and reason, the sums, what is unknown, then the sources."""
    sources = list(dict.fromkeys(one["each"]["source"] for one in cost["lines"] if one["each"]["source"]))
    found = [_line(one, sources) for one in cost["lines"] if one["each"]["basis"] != "unknown"]
    for total in cost["totals"]:
        kinds, bases = (_shares(total[key]) for key in ("by_kind", "by_basis"))
        found.append(f"in all {_range((total['low'], total['high']))} {total['unit']}: {kinds} ({bases})")
    if cost["unknown"]:
        count = output.counted(sum(cost["unknown"].values()), "stage")
        kinds = ", ".join(f"{kind} {number}" for kind, number in cost["unknown"].items())
        found.append(f"cost unknown for {count}: {kinds}")
    return found + [f"[{number}] {source}" for number, source in enumerate(sources, 1)]


def _line(one: Mapping[str, Any], sources: Sequence[str]) -> str:
    each, stages = one["each"], output.counted(one["stages"], "stage")
    price = f"{_range((one['low'], one['high']))} {each['unit']} for {stages}"
    price += f", {_range((each['low'], each['high']))} each" if one["stages"] > 1 and one["high"] else ""
    formula = f": {each['formula']}" if each["formula"] else ""
    note = f" [{sources.index(each['source']) + 1}]" if each["source"] else ""
    return f"{one['kind']:8} {price}, {each['basis']}{formula}{note}"


def _shares(sums: Mapping[str, Sequence[float]]) -> str:
    """Write the parts of a sum, leaving out those that are nothing."""
    return ", ".join(f"{name} {_range(ends)}" for name, ends in sums.items() if ends[1]) or "nothing"


def _range(ends: Sequence[float]) -> str:
    low, high = (_hours(end) for end in ends)
    return low if low == high else f"{low} to {high}"


def _hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
