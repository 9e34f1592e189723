import json
from pathlib import Path

import pytest

from loadtests.bench import limits, wrk
from loadtests.bench.bare import rows_of
from loadtests.bench.disk import Disk
from loadtests.bench.figures import Bar, new_tag, percentile, spread
from loadtests.bench.wrk import LEAD_BYTES, BadAnswers
from schema.counts import widths
from schema.counts.write import changes_of
from schema.lead import lead_id, rules
from tests.kit.servers import until

LINE = '{"answers":%d,"seconds":2.5,"refused":%d,"broken":%d,"p50":1.5,"p95":2,"p99":3}'


def test_what_wrk_counted_becomes_a_rate():
    found = wrk.parse("Running 2s test @ http://127.0.0.1\n" + LINE % (5000, 0, 0) + "\n")

    assert found.rate == 2000
    assert (found.p50, found.p99) == (1.5, 3)


@pytest.mark.parametrize("output", [LINE % (5000, 1, 0), LINE % (5000, 0, 1), "unable to connect", ""])
def test_a_run_with_a_wrong_answer_gives_no_figure(output: str):
    with pytest.raises(BadAnswers):
        wrk.parse(output)


def test_the_lead_is_valid_and_as_long_as_it_says():
    text = wrk.lead(new_tag(), 7)

    assert len(text) == LEAD_BYTES
    assert rules.validate(json.loads(text))["email"].endswith("-000000007@example.com")


def test_no_two_tags_are_the_same():
    tags = {new_tag() for _ in range(500)}

    assert len(tags) == 500
    assert {len(tag) for tag in tags} == {wrk.TAG}


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_one_of_the_values(share: float, expected: int):
    assert percentile(range(100, 0, -1), share) == expected


def test_a_percentile_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_bar_is_met_at_its_bound():
    assert Bar("rate", 10.0, 10.0).met
    assert not Bar("rate", 9.99, 10.0).met
    assert Bar("memory", 120.0, 120.0, at_least=False).met
    assert not Bar("memory", 120.1, 120.0, at_least=False).met


def test_a_spread_shows_the_median_and_both_ends():
    assert spread([3000.0, 1000.0, 2000.0]) == "2,000 (1,000–3,000)"


def test_the_last_figure_of_redis_benchmark_counts():
    assert limits.parse("XADD: rps=1.0\rXADD x: 211640.12 requests per second, p50=3.5 msec\n") == 211640.12
    with pytest.raises(ValueError, match="nothing of worth"):
        limits.parse("Could not connect to Redis")


def test_bare_rows_are_counted_in_each_width_and_have_ids_of_their_own():
    rows = rows_of(new_tag(), 1000, 500, 1_800_000_000_000_000)

    assert len({row[0] for row in rows}) == 500
    assert lead_id.micros_of(rows[0][0]) == 1_800_000_000_000_000
    *_, (_, counts) = changes_of((row[0] for row in rows), 0)
    for width in widths.WIDTHS:
        assert sum(number for each, _, _, number in counts if each == width) == 500


def test_the_disk_is_asked_again_and_again_and_left_as_it_was(tmp_path: Path):
    with Disk(tmp_path) as disk:
        until(lambda: len(disk.found) >= 3)

    assert all(milliseconds > 0 for milliseconds in disk.found)
    assert not list(tmp_path.iterdir())
