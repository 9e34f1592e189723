"""Plans of load tests: stages of a rate, and thresholds."""

import json
import math
from dataclasses import asdict, dataclass

# Requests per second of one of locust's users.
PACE = 0.5


@dataclass(frozen=True)
class Stage:
    """A period at one rate."""

    name: str
    seconds: float
    rate: float  # requests a minute

    @property
    def users(self) -> int:
        """The number of locust's users that make this rate."""
        return max(1, math.ceil(self.rate / 60 / PACE))


@dataclass(frozen=True)
class Thresholds:
    """Bounds that must hold over the whole run."""

    p95: float  # milliseconds
    p99: float  # milliseconds
    errors: float = 0.0  # most, as a share of all requests
    rate: float = 0.9  # least, as a share of the planned rate


@dataclass(frozen=True)
class Plan:
    """A load test."""

    name: str
    stages: tuple[Stage, ...]
    thresholds: Thresholds

    @property
    def seconds(self) -> float:
        """The duration."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def rate(self) -> float:
        """Planned requests per second, on average."""
        return sum(stage.users * PACE * stage.seconds for stage in self.stages) / self.seconds

    def stage_at(self, second: float) -> Stage | None:
        """Return the stage at a second of the run, or None after the last."""
        for stage in self.stages:
            second -= stage.seconds
            if second < 0:
                return stage
        return None

    def to_json(self) -> str:
        """Encode the plan for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Decode a plan that `to_json` encoded."""
        found = json.loads(text)
        stages = tuple(Stage(**stage) for stage in found["stages"])
        return cls(found["name"], stages, Thresholds(**found["thresholds"]))


@dataclass(frozen=True)
class Verdict:
    """One threshold and its result."""

    name: str
    wanted: str
    found: str
    passed: bool


def sustained(rate: float, minutes: float) -> Plan:
    """Return the plan of a steady rate (requests a minute)."""
    # The service's promised p95 at 55 requests per second, three times the default rate.
    return Plan("sustained", (Stage("steady", minutes * 60, rate),), Thresholds(p95=25, p99=100))


def spike(rate: float, minutes: float) -> Plan:
    """Return the plan of a rate (requests a minute) that is ten times higher for the middle fifth of the time."""
    seconds = minutes * 60
    return Plan(
        "spike",
        (
            Stage("normal", seconds * 0.4, rate),
            Stage("spike", seconds * 0.2, rate * 10),
            Stage("normal", seconds * 0.4, rate),
        ),
        # The service's promised p95 at 500 requests per second.
        Thresholds(p95=50, p99=250),
    )
