"""Numbers as papers print them: digits, spread and count are part of the claim."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A number as printed.

    Attributes:
        text: As it stands in the paper, e.g. "14.58 ± 0.3".
        spread: Standard deviation over runs, None where none is printed.
        decimals: Digits printed behind the point.
        runs: How many runs it is the mean of, None where nobody says.
    """

    text: str
    value: float
    spread: float | None = None
    decimals: int = 0
    runs: int | None = None

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit: what rounding can hide."""
        return 0.5 * 10.0**-self.decimals

    @classmethod
    def parse(cls, text: str, runs: int | None = None) -> Number:
        """Read ``14.58``, ``14.58 ± 0.3`` or ``14.58 ± 0.3 (5)``; ``1e-4`` is a number too.

        Args:
            text: As printed.
            runs: Taken where the text gives no count.

        Raises:
            ValueError: It is none of these.
        """
        printed = text.strip()
        match = _NUMBER.fullmatch(printed)
        if match is None:
            hint = (
                "a number that is not printed is a key left out" if printed in _DASHES else "14.58 or 14.58 ± 0.3 (5)"
            )
            raise ValueError(f"{printed!r} is not a number as printed: {hint}")
        value, spread, count = match.group("value", "spread", "runs")
        mantissa, _, exponent = value.partition("e")
        return cls(
            text=printed,
            value=float(value.replace("−", "-")),
            spread=None if spread is None else float(spread),
            decimals=len(mantissa.partition(".")[2]) - int(exponent or 0),
            runs=runs if count is None else int(count),
        )


_NUMBER = re.compile(
    r"(?P<value>[-−]?(?:\d+(?:\.\d+)?|\.\d+)(?:e-\d+)?)"
    r"\s*(?:(?:±|\+/?-)\s*(?P<spread>\d+(?:\.\d+)?|\.\d+))?\s*(?:\((?P<runs>[1-9]\d*)\))?"
)
_DASHES = ("-", "−", "–", "—", "")
