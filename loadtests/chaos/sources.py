"""Sources with daily caps in a chaos run: no source gets one lead more than its cap, and each one's numbers agree."""

import random
from collections import Counter

from loadtests.chaos.systems import Ours

# Share of a source's part of all leads that its cap is: some are used up early, others never.
CAP_SHARES = (0.2, 1.5)


class Sources:
    """The sources that a run's leads come from."""

    def __init__(self, number: int, leads: float, seed: int) -> None:
        """Plan sources for a run that sends some `leads` in all, the same for each seed."""
        dice = random.Random(seed)
        self.caps = {
            f"source-{each}": max(1, round(leads / number * dice.uniform(*CAP_SHARES))) for each in range(number)
        }

    def make(self, system: Ours) -> list[str]:
        """Make them; return their API keys."""
        return [system.make_source(name, cap) for name, cap in self.caps.items()]

    def problems(self, system: Ours) -> list[str]:
        """Return a line for each source that is over its cap, or whose rows are not what the statistics say."""
        found: list[str] = []
        rows = system.stored_by_source()
        for (source, day), number in rows.items():
            if number > self.caps[source]:
                found.append(f"{source} has {number} leads of {day} and a cap of {self.caps[source]}")
        sums: Counter[str] = Counter()
        for (source, _), number in rows.items():
            sums[source] += number
        for source in self.caps:
            accepted, stored = system.statistics(source)
            if not accepted == stored == sums[source]:
                found.append(f"{source}: {accepted} accepted, {stored} stored, {sums[source]} rows")
        return found

    def used_up(self, system: Ours) -> int:
        """Return how many sources have exactly their cap on some day."""
        rows = system.stored_by_source()
        return sum(any(rows[each] == cap for each in rows if each[0] == source) for source, cap in self.caps.items())
