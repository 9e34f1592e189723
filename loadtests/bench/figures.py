"""Figures, and the bars they are held against."""

import itertools
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from loadtests.bench.wrk import TAG

_number = itertools.count()
_run = secrets.token_hex(2)


def new_tag() -> str:
    """Return a tag that no run had before: part of each lead's address."""
    return f"{_run}{next(_number):0{TAG - len(_run)}d}"


def percentile(values: Iterable[float], share: float) -> float:
    """Return the least value that `share` (0 to 1) of `values` do not exceed.

    Raises ValueError when there are none.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def spread(values: Sequence[float]) -> str:
    """Write the median with the least and the greatest."""
    return f"{median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


@dataclass(frozen=True)
class Bar:
    """What must be reached: a figure and its bound."""

    what: str
    value: float
    bound: float
    at_least: bool = True
    unit: str = "×"

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        mark = "✓" if self.met else "✗"
        return f"{mark} {self.what}: {self.value:,.2f} {self.unit} (bar {sign} {self.bound:,g} {self.unit})"


@dataclass
class Findings:
    """What a run found, for the table, the JSON and the chart."""

    figures: dict[str, Any] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def bar(self, bar: Bar) -> None:
        """Keep a bar and print it."""
        self.bars.append(bar)
        print(f"  {bar}", flush=True)
