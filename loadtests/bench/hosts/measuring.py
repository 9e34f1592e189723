"""Measures a site: loads all its APIs at once, and reads before and after what each part has spent."""

import resource
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psutil

from loadtests.bench import wrk
from loadtests.bench.figures import new_tag
from loadtests.bench.hosts.bound import Throttling
from loadtests.bench.hosts.round import Round
from loadtests.bench.hosts.site import Site
from loadtests.bench.processes import cpu_seconds
from loadtests.bench.wrk import BadAnswers, Load

ACCEPTED = 202


@dataclass(frozen=True)
class Reading:
    """What was spent up to a moment."""

    at: float
    spent: dict[str, float]
    busy: float
    throttling: list[Throttling] = field(default_factory=list)

    @classmethod
    def of(cls, site: Site) -> "Reading":
        """Read it now."""
        spent = {part: cpu_seconds(found) for part, found in site.processes().items()}
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Nothing else that this process started ends between two readings.
        spent["wrk"] = ended.ru_utime + ended.ru_stime
        machine = psutil.cpu_times()
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0)
        return cls(time.monotonic(), spent, busy, [each.bound.throttling() for each in site.hosts])


@dataclass(frozen=True)
class Plan:
    """How a site is loaded: with so many connections to each host, for a warm-up and then for the round (seconds)."""

    share: float
    connections: int
    seconds: float
    warm_up: float
    keys: bool  # whether each lead has an Idempotency-Key


def measure(site: Site, plan: Plan) -> Round:
    """Load the site and return what it did; on return all that was accepted is stored, and the ledger balances.

    Raises BadAnswers.
    """
    for each in site.hosts:
        each.bound.hold(plan.share)
    for stand_in in site.stand_ins:
        stand_in.start(plan.share)
    _load(site, plan, plan.warm_up)
    site.drain()
    histograms = _histograms(site)
    before = Reading.of(site)
    tags, loads = _load(site, plan, plan.seconds)
    stored = site.stored(tags)
    after = Reading.of(site)
    for each in site.hosts:
        each.bound.lift()
    site.drain()
    accepted = sum(each.answers for each in loads)
    rows = site.stored(tags)
    # wrk closes connections with open requests, whose leads may be stored without an answer.
    if not accepted <= rows <= accepted + plan.connections * len(site.hosts):
        raise BadAnswers(f"{accepted} leads were answered with 202, {rows} are stored")
    site.check_ledger()
    found = {name: value - histograms.get(name, 0.0) for name, value in _histograms(site).items()}
    periods, throttled = (
        sum(new[i] - old[i] for new, old in zip(after.throttling, before.throttling, strict=True)) for i in (0, 1)
    )
    return Round(
        form=site.form,
        hosts=len(site.hosts),
        share=plan.share,
        cores=psutil.cpu_count() or 1,
        seconds=after.at - before.at,
        accepted=accepted,
        stored=min(stored, accepted),
        spent={part: value - before.spent[part] for part, value in after.spent.items()},
        busy=after.busy - before.busy,
        throttled=throttled / max(1, periods),
        flush=found["leads_flush_requests_sum"] / max(1, found["leads_flush_requests_count"]),
        batch=found["leads_batch_leads_sum"] / max(1, found["leads_batch_leads_count"]),
        p50=sum(each.p50 * each.answers for each in loads) / accepted,
        p99=max(each.p99 for each in loads),
    )


def _load(site: Site, plan: Plan, seconds: float) -> tuple[list[str], list[Load]]:
    """Load all APIs at once, each by a wrk of its own; return the loads' tags and results."""
    tags = [new_tag() for _ in site.hosts]

    def load(url: str, tag: str) -> Load:
        return wrk.run(
            url,
            site.token,
            tag,
            connections=plan.connections,
            seconds=seconds,
            status=ACCEPTED,
            keys=plan.keys,
        )

    with ThreadPoolExecutor(len(tags)) as pool:
        loads = list(pool.map(load, [each.url for each in site.hosts], tags))
    return tags, loads


def _histograms(site: Site) -> dict[str, float]:
    """Return the sums and counts of all hosts' histograms."""
    found: dict[str, float] = {}
    for each in site.hosts:
        for name, value in each.histograms().items():
            found[name] = found.get(name, 0.0) + value
    return found
