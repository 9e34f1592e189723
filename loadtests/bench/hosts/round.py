"""One round: what hosts accepted and stored within a span, and what each part spent on it."""

from dataclasses import dataclass

# Parts that run within the bounds.
BOUND_PARTS = ("API", "worker", "shards")

# Parts that are one thread each, so that one core is all they can have.
SINGLE_THREADS = ("Redis outside", "wrk")

# Most of one core that a single thread outside of the bounds may have used, and most of the whole machine: above that
# the figure would be theirs.
THREAD_MAX = 0.85
MACHINE_MAX = 0.95

# Least of its share that a host must have used: below that something else than its share held it back.
SHARE_USED_MIN = 0.9


class Saturated(Exception):
    """What is outside of the bounds had no room, so the figure is the machine's and not the hosts'."""


@dataclass(frozen=True)
class Round:
    """The result of one span."""

    form: str
    hosts: int
    share: float  # of a core, for each host
    cores: int
    seconds: float
    accepted: int  # answers with 202
    stored: int  # their rows at the end of the span
    spent: dict[str, float]  # processor seconds by part
    busy: float  # processor seconds of the whole machine
    throttled: float  # share of the periods in which the hosts used up theirs
    flush: float  # requests in one flush
    batch: float  # leads in one batch
    p50: float  # milliseconds
    p99: float

    @property
    def rate(self) -> float:
        """Accepted leads a second."""
        return self.accepted / self.seconds

    @property
    def stored_rate(self) -> float:
        """Stored leads a second."""
        return self.stored / self.seconds

    @property
    def share_used(self) -> float:
        """How much of the hosts' shares was used."""
        used = sum(self.spent.get(part, 0.0) for part in BOUND_PARTS)
        return used / (self.seconds * self.share * self.hosts)

    @property
    def machine_used(self) -> float:
        """How much of the machine was used."""
        return self.busy / (self.seconds * self.cores)

    @property
    def others(self) -> float:
        """Cores that were used by what is no part of the run, or by the kernel itself."""
        return max(0.0, self.busy - sum(self.spent.values())) / self.seconds

    def micros(self, part: str) -> float:
        """Return the processor time that a part spent on one accepted lead, in µs."""
        return self.spent.get(part, 0.0) / self.accepted * 1e6

    def check(self, *, busy: bool = False) -> None:
        """Raise Saturated when something outside of the bounds had no room. With `busy` the machine may be full."""
        for part in SINGLE_THREADS:
            # There is one wrk for each host.
            threads = self.hosts if part == "wrk" else 1
            used = self.spent.get(part, 0.0) / self.seconds / threads
            if used > THREAD_MAX:
                raise Saturated(f"{self}: {part} used {used:.0%} of the one core that it can use")
        if self.machine_used > MACHINE_MAX and not busy:
            raise Saturated(
                f"{self}: {self.machine_used:.0%} of the machine was used, "
                f"{self.others:.2f} cores of it by others than this run"
            )
        if self.share_used < SHARE_USED_MIN:
            raise Saturated(f"{self}: the hosts used only {self.share_used:.0%} of their shares")

    def line(self) -> str:
        """Return the figures in one line."""
        micros = ", ".join(f"{part} {self.micros(part):.0f}" for part in self.spent)
        return (
            f"{self}: {self.rate:,.0f} accepted/s, {self.stored_rate:,.0f} stored/s, {self.share_used:.0%} of the "
            f"shares, at the bound {self.throttled:.0%}, machine {self.machine_used:.0%} (others {self.others:.2f} "
            f"cores), {self.flush:.1f} leads a flush, {self.batch:.0f} a batch, p50 {self.p50:.0f} ms; "
            f"µs a lead: {micros}"
        )

    def __str__(self) -> str:
        return f"{self.form}, {self.hosts} host{'s' * (self.hosts > 1)}"
