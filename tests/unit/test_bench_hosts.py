import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.bench import chart
from loadtests.bench.hosts import table
from loadtests.bench.hosts.bound import Bound, CannotBind, Hierarchy, Throttling, hierarchy_in, throttling_in
from loadtests.bench.hosts.round import Round, Saturated
from loadtests.bench.hosts.site import CLUSTER, ONE_REDIS

V1 = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
"""
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n"
BOTH = V1 + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n"

ONE = Round(
    form=CLUSTER,
    hosts=1,
    share=0.25,
    cores=2,
    seconds=10.0,
    accepted=10_000,
    stored=9_900,
    spent={"API": 1.8, "worker": 0.4, "shards": 0.3, "Redis outside": 0.1, "database": 0.5, "wrk": 0.2, "beat": 0.1},
    busy=4.4,
    throttled=0.9,
    flush=8.0,
    batch=100.0,
    p50=15.0,
    p99=30.0,
)


def of(hosts: int, form: str = CLUSTER, rate: float = 1.0) -> Round:
    """Return a round in which each host did `rate` of what one alone does in ONE."""
    return replace(
        ONE,
        form=form,
        hosts=hosts,
        accepted=round(ONE.accepted * hosts * rate),
        stored=round(ONE.stored * hosts * rate),
        spent={name: value * hosts for name, value in ONE.spent.items()},
        busy=ONE.busy * hosts,
    )


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (V1, Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), 1)),
        (V2, Hierarchy(Path("/sys/fs/cgroup"), 2)),
        # Where both are mounted, the controller is with one of them: with the first, if it is there.
        (BOTH, Hierarchy(Path("/sys/fs/cgroup/cpu,cpuacct"), 1)),
    ],
)
def test_the_hierarchy_is_the_one_with_the_cpu_controller(mounts: str, expected: Hierarchy):
    assert hierarchy_in(mounts) == expected


def test_without_a_hierarchy_there_is_no_bound():
    with pytest.raises(CannotBind, match="no cgroup hierarchy"):
        hierarchy_in("proc /proc proc rw 0 0\n")


@pytest.mark.parametrize(
    ("version", "held", "lifted"),
    [
        (
            1,
            {"cpu.shares": "10240", "cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "2500"},
            {"cpu.cfs_quota_us": "-1"},
        ),
        (2, {"cpu.weight": "1000", "cpu.max": "2500 10000"}, {"cpu.max": "max 10000"}),
    ],
)
def test_a_share_is_a_quota_of_each_period(tmp_path: Path, version: int, held: dict[str, str], lifted: dict[str, str]):
    def written() -> dict[str, str]:
        (path,) = tmp_path.iterdir()
        return {each.name: each.read_text() for each in path.iterdir()}

    bound = Bound(Hierarchy(tmp_path, version), "host-1")
    bound.__enter__()

    bound.hold(0.25)
    assert written() == held
    bound.lift()
    assert written() == held | lifted


def test_a_command_enters_the_bound_before_it_runs(tmp_path: Path):
    bound = Bound(Hierarchy(tmp_path, 1), "host-1")
    bound.__enter__()

    done = subprocess.run([*bound.prefix(), "sh", "-c", "echo $$ $1", "sh", "a b"], capture_output=True, text=True)

    (path,) = tmp_path.iterdir()
    assert done.stdout == f"{(path / 'cgroup.procs').read_text().strip()} a b\n"


def test_periods_are_read_from_either_version():
    assert throttling_in(["nr_periods 70", "nr_throttled 40", "throttled_time 12"]) == Throttling(70, 40)
    assert throttling_in(["usage_usec 5", "nr_periods 7", "nr_throttled 4"]) == Throttling(7, 4)


def test_a_round_knows_rates_costs_and_how_full_hosts_and_machine_were():
    assert (ONE.rate, ONE.stored_rate) == (1000, 990)
    assert ONE.micros("API") == pytest.approx(180)
    assert ONE.share_used == pytest.approx(1.0)
    assert ONE.machine_used == pytest.approx(0.22)
    assert ONE.others == pytest.approx(0.1)


def test_a_round_with_room_outside_of_the_hosts_is_a_figure():
    for hosts in (1, 2, 3, 4):
        of(hosts).check()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (replace(ONE, spent={**ONE.spent, "Redis outside": 9.0}), "Redis outside used 90% of the one core"),
        (replace(ONE, spent={**ONE.spent, "wrk": 9.0}), "wrk used 90% of the one core"),
        (replace(ONE, busy=19.8), "99% of the machine was used, 1.64 cores of it by others"),
        (replace(ONE, spent={**ONE.spent, "API": 1.0}), "the hosts used only 68% of their shares"),
    ],
)
def test_a_round_without_room_outside_of_the_hosts_is_none(changed: Round, says: str):
    with pytest.raises(Saturated, match=says):
        changed.check()


def test_a_full_machine_may_be_told_to_be_none_of_the_run_s_doing():
    replace(ONE, busy=19.8).check(busy=True)


def test_each_wrk_has_a_core_of_its_own():
    spent = {**of(4).spent, "wrk": 4 * 8.0}

    replace(of(4), spent=spent).check()


def test_rounds_are_grouped_by_form_and_number_and_the_median_counts():
    groups = table.groups_of([of(1), of(2, rate=0.9), of(1, form=ONE_REDIS), of(2, rate=0.8), of(2, rate=1.0), of(1)])

    assert [(each.form, each.hosts, len(each.rounds)) for each in groups] == [
        (CLUSTER, 1, 2),
        (CLUSTER, 2, 3),
        (ONE_REDIS, 1, 1),
    ]
    assert groups[1].accepted == 1800
    assert groups[1].flatness(groups[0]) == pytest.approx(0.9)


@pytest.mark.parametrize(("rate", "is_met"), [(0.95, True), (0.85, False)])
def test_the_bar_is_the_rate_of_a_host_with_the_most_of_them(rate: float, is_met: bool):
    groups = table.groups_of([of(1), of(2, rate=0.5), of(4, rate=rate), of(1, form=ONE_REDIS)])

    (bar,) = table.bars(groups)

    assert bar.value == pytest.approx(rate, abs=0.001)
    assert bar.met is is_met


@pytest.mark.parametrize("lines", [table.rates, table.costs])
def test_a_table_has_a_line_for_each_number_of_hosts_and_no_gaps(lines: Callable[[list[table.Group]], list[str]]):
    head, rule, *rest = lines(table.groups_of([of(1), of(4)]))

    assert len(rest) == 2
    assert {each.count("|") for each in (head, rule, *rest)} == {head.count("|")}


def test_the_chart_is_drawn(tmp_path: Path):
    chart.draw_hosts(
        "Hosts", {ONE_REDIS: {1: (10, 9), 4: (40, 38)}, CLUSTER: {1: (9, 9), 4: (30, 29)}}, tmp_path / "hosts.png"
    )

    assert (tmp_path / "hosts.png").stat().st_size > 1000
