"""Figures, and the bars that they must reach."""

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
    """Return a new tag, which marks a run's leads by their addresses."""
    return f"{_run}{next(_number):0{TAG - len(_run)}d}"


def percentile(values: Iterable[float], share: float) -> float:
    """Return the smallest value that `share` (0 to 1) of `values` do not exceed.

    Raises ValueError when there are none.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]


def spread(values: Sequence[float]) -> str:
    """Format the median with minimum and maximum."""
    return f"{median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


@dataclass(frozen=True)
class Bar:
    """A figure and the bound that it must reach."""

    what: str
    value: float
    bound: float
    at_least: bool = True
    unit: str = "×"

    @property
    def met(self) -> bool:
        """Whether the bound is reached."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        mark = "✓" if self.met else "✗"
        return f"{mark} {self.what}: {self.value:,.2f} {self.unit} (bar {sign} {self.bound:,g} {self.unit})"


@dataclass
class Findings:
    """The results of a run, for the table, the JSON and the chart."""

    figures: dict[str, Any] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def bar(self, bar: Bar) -> None:
        """Record a bar and print it."""
        self.bars.append(bar)
        print(f"  {bar}", flush=True)
