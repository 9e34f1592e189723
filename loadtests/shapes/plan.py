"""What a load test does and what it must reach."""

import json
import math
from dataclasses import asdict, dataclass

# Requests a second of one of locust's clients.
PACE = 0.5


@dataclass(frozen=True)
class Stage:
    """A time at one rate."""

    name: str
    seconds: float
    rate: float  # requests a minute

    @property
    def users(self) -> int:
        """How many of locust's clients make that rate."""
        return max(1, math.ceil(self.rate / 60 / PACE))


@dataclass(frozen=True)
class Thresholds:
    """What must hold over the whole run."""

    p95: float  # milliseconds
    p99: float  # milliseconds
    errors: float = 0.0  # share of all requests
    rate: float = 0.9  # share of the requests that were planned


@dataclass(frozen=True)
class Plan:
    """A load test."""

    name: str
    stages: tuple[Stage, ...]
    thresholds: Thresholds

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def rate(self) -> float:
        """Planned requests a second, on average."""
        return sum(stage.users * PACE * stage.seconds for stage in self.stages) / self.seconds

    def stage_at(self, second: float) -> Stage | None:
        """Return the stage that is on at a second of the run, or None after the last."""
        for stage in self.stages:
            second -= stage.seconds
            if second < 0:
                return stage
        return None

    def to_json(self) -> str:
        """Write the plan down for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read what `to_json` wrote."""
        found = json.loads(text)
        stages = tuple(Stage(**stage) for stage in found["stages"])
        return cls(found["name"], stages, Thresholds(**found["thresholds"]))


@dataclass(frozen=True)
class Verdict:
    """One threshold, and what came out."""

    name: str
    wanted: str
    found: str
    passed: bool


def sustained(rate: float, minutes: float) -> Plan:
    """Return the plan of a steady rate (requests a minute)."""
    # p95 as the service promises it at 55 requests a second, three times the default rate.
    return Plan("sustained", (Stage("steady", minutes * 60, rate),), Thresholds(p95=25, p99=100))


def spike(rate: float, minutes: float) -> Plan:
    """Return the plan of a normal rate (requests a minute), ten times as much for a fifth of the time, and back."""
    seconds = minutes * 60
    return Plan(
        "spike",
        (
            Stage("normal", seconds * 0.4, rate),
            Stage("spike", seconds * 0.2, rate * 10),
            Stage("normal", seconds * 0.4, rate),
        ),
        # p95 as the service promises it at 500 requests a second.
        Thresholds(p95=50, p99=250),
    )
