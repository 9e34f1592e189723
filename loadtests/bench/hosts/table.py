"""What the rounds say together: medians by form and number of hosts, as tables in Markdown."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median

from loadtests.bench.figures import Bar, spread
from loadtests.bench.hosts.round import BOUND_PARTS, Round

# How far the rate of a host may be below that of one alone.
FLAT = 0.9

# Parts outside of the bounds in the second table.
OUTSIDE = ("Redis outside", "database", "wrk")


class Group:
    """The rounds of one form with one number of hosts."""

    def __init__(self, rounds: Sequence[Round]) -> None:
        self.rounds = rounds
        self.form, self.hosts = rounds[0].form, rounds[0].hosts

    def middle(self, figure: Callable[[Round], float]) -> float:
        """Return the median of a figure."""
        return median(map(figure, self.rounds))

    @property
    def accepted(self) -> float:
        """Accepted leads a second."""
        return self.middle(lambda each: each.rate)

    @property
    def stored(self) -> float:
        """Stored leads a second."""
        return self.middle(lambda each: each.stored_rate)

    def flatness(self, one: "Group") -> float:
        """Return the rate of one of these hosts, from POST to row, as a share of that of one in `one`."""
        return (self.stored / self.hosts) / (one.stored / one.hosts)


def groups_of(rounds: Iterable[Round]) -> list[Group]:
    """Group rounds, in the order in which form and number of hosts first came."""
    found: dict[tuple[str, int], list[Round]] = {}
    for each in rounds:
        found.setdefault((each.form, each.hosts), []).append(each)
    return [Group(each) for each in found.values()]


def first_of(groups: Iterable[Group], form: str) -> Group:
    """Return the group of a form with the fewest hosts, which the others are compared with."""
    return min((each for each in groups if each.form == form), key=lambda each: each.hosts)


def rates(groups: Sequence[Group]) -> list[str]:
    """Return the lines of the table of rates."""
    lines = [
        "| queue | hosts | accepted/s | stored/s | of as many times one host | p50, ms | p99, ms |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in groups:
        one = first_of(groups, each.form)
        lines.append(
            f"| {each.form} | {each.hosts} | {spread([found.rate for found in each.rounds])} "
            f"| {spread([found.stored_rate for found in each.rounds])} "
            f"| {each.flatness(one):.2f} "
            f"| {each.middle(lambda found: found.p50):.0f} | {each.middle(lambda found: found.p99):.0f} |"
        )
    return lines


def costs(groups: Sequence[Group]) -> list[str]:
    """Return the lines of the table of what an accepted lead costs, and how full hosts and machine were."""
    parts = (*BOUND_PARTS, *OUTSIDE)
    columns = ("queue", "hosts", *parts, "leads a flush", "leads a batch", "shares used", "at the bound", "machine")
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    for each in groups:
        micros = [f"{each.middle(partial(Round.micros, part=part)):.0f}" for part in parts]
        lines.append(
            f"| {each.form} | {each.hosts} | {' | '.join(micros)} "
            f"| {each.middle(lambda found: found.flush):.1f} | {each.middle(lambda found: found.batch):.0f} "
            f"| {each.middle(lambda found: found.share_used):.0%} | {each.middle(lambda found: found.throttled):.0%} "
            f"| {each.middle(lambda found: found.machine_used):.0%} |"
        )
    return lines


def bars(groups: Sequence[Group]) -> list[Bar]:
    """Return the bars: with the most hosts each stores as much as one alone, within a tenth."""
    found = []
    for form in dict.fromkeys(each.form for each in groups):
        one = first_of(groups, form)
        most = max((each for each in groups if each.form == form), key=lambda each: each.hosts)
        if most is not one:
            title = f"{form}, {most.hosts} hosts: rate of each, of one host's"
            found.append(Bar(title, most.flatness(one), FLAT))
    return found
