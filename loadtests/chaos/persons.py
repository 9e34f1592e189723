"""Duplicates in a chaos run: of all leads with the same number one is the first, and all others name it."""

from collections import defaultdict

from loadtests.chaos.systems import Ours


def number_of(person: int) -> str:
    """Return the telephone number of a person."""
    return f"+44207{person:07}"


def problems(system: Ours) -> tuple[int, list[str]]:
    """Return how many rows are duplicates, and a line for each number whose leads do not agree on the first."""
    by_number: dict[str, dict[str, str | None]] = defaultdict(dict)
    for lead, number, first in system.duplicates():
        by_number[number][lead] = first
    found: list[str] = []
    for number, leads in sorted(by_number.items()):
        firsts = [lead for lead, first in leads.items() if first is None]
        named = {first for first in leads.values() if first is not None}
        if len(firsts) != 1 or named - set(firsts):
            found.append(f"{number}: {len(leads)} leads, {len(firsts)} of them first, {len(named)} named as the first")
    return sum(first is not None for leads in by_number.values() for first in leads.values()), found
