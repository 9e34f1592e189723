"""What became of each 202, and how long each kind of fault was felt."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from loadtests.chaos.clients import Promise
from loadtests.hosts.faults import Fault
from tests.kit.hosts import Host

# Ends of units that are no fault of the service: the servers end when their disk is full, or their group is lost.
SERVERS = ("redis", "mysqld", "router", "tickets")

# Longest pause (seconds) between two 202s or rows when nothing is wrong: a fault begins at most so long after the last
# one that it let through.
STEADY_PAUSE = 2.0


@dataclass(frozen=True)
class Effect:
    """How long one fault was felt, in seconds."""

    keyed: float  # longest time without a 202 for a lead with a key
    bare: float  # for one without
    rows: float  # longest time without a new row
    slowest: float  # longest time from the 202 of a lead to its row, of those accepted since the fault


def effects(faults: Sequence[Fault], promises: Sequence[Promise], seen: dict[str, float]) -> list[Effect]:
    """Return the effect of each fault. A pause is of the fault that began last before it, or just after its begin."""
    begun = [fault.begun for fault in faults]
    keyed = longest_pauses([promise.at for promise in promises if promise.keyed], begun)
    bare = longest_pauses([promise.at for promise in promises if not promise.keyed], begun)
    rows = longest_pauses(sorted(seen.values()), begun)
    found = []
    for number, begin in enumerate(begun):
        end = begun[number + 1] if number + 1 < len(begun) else float("inf")
        since = [promise for promise in promises if begin <= promise.at < end]
        late = [seen[key] - each.at for each in since if (key := each.lead.replace("-", "")) in seen]
        found.append(Effect(keyed[number], bare[number], rows[number], max(late, default=0.0)))
    return found


def longest_pauses(times: Sequence[float], begun: Sequence[float]) -> list[float]:
    """Return the longest pause between two of `times` for each of the faults that began at `begun`."""
    longest = [0.0] * len(begun)
    for before, after in pairwise(times):
        number = bisect_right(begun, before + STEADY_PAUSE) - 1
        if number >= 0 and after > begun[number]:
            longest[number] = max(longest[number], after - before)
    return longest


def print_effects(faults: Sequence[Fault], found: Sequence[Effect]) -> None:
    """Print a line for each kind of fault and role of the host."""
    groups: dict[tuple[str, str], list[tuple[Fault, Effect]]] = defaultdict(list)
    for fault, effect in zip(faults, found, strict=True):
        groups[fault.kind, fault.role].append((fault, effect))
    print(
        "longest times in seconds: without a 202 for leads with a key and without one, without a new row, from 202 to"
    )
    print("row; from the end of the fault until every server and process was well")
    print(f"{'fault':<18}{'of the':<40}{'number':>6}{'keyed':>7}{'bare':>7}{'rows':>7}{'to row':>7}{'well':>7}")
    for (kind, role), members in sorted(groups.items()):
        longest = [max(getattr(effect, name) for _, effect in members) for name in ("keyed", "bare", "rows", "slowest")]
        times = "".join(f"{value:>7.1f}" for value in longest)
        well = max(fault.whole - fault.mended if fault.whole else float("inf") for fault, _ in members)
        print(f"{kind:<18}{role:<40}{len(members):>6}{times}{well:>7.1f}")


def ended_by_themselves(hosts: Sequence[Host]) -> Counter[str]:
    """Count the ends of units that no fault killed: those of a fault leave no note."""
    ends: Counter[str] = Counter()
    for host in hosts:
        for note in host.journal():
            if note["what"] != "started":
                ends[f"{note['unit']} {note['what']} with status {note.get('status', note.get('reason'))}"] += 1
    return ends


def of_servers(end: str) -> bool:
    """Tell whether an end, as `ended_by_themselves` names it, is a server's."""
    return end.startswith(SERVERS)
