"""schema.counts.by_source: what a source has stored, whatever happens."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from sqlalchemy import Connection, event, select, update

from schema.counts import by_source, maintain, retention
from schema.counts.by_source import SOURCE_WIDTHS
from schema.counts.widths import DAY, HOUR, MICROS
from schema.database.tables import leads, source_counts
from schema.lead.source import SourceLimits
from tests.integration.backends import POISON, Backend, servers_only
from tests.integration.persons import ANN, erase, off
from tests.integration.sources import ACME, END, GLOBEX
from tests.integration.test_counts import START, rows_at
from tests.integration.test_database_trouble import blocked
from tests.integration.test_partitions import NOW, moments
from tests.integration.test_source_limits import NOON, sent, submit
from tests.integration.workers import DiesAfterCommit, Worker
from tests.kit.servers import until
from workers.store import insertion
from workers.store.batch import StoringFailed
from workers.upkeep.maintenance import Maintenance

# Moments around the edges of hours and days, microseconds since 1970; START is noon.
EDGES = [NOON - 1, NOON, NOON + 1, NOON + HOUR * MICROS - 1, NOON + HOUR * MICROS, NOON + DAY // 2 * MICROS]


def store(backend: Backend, times: Sequence[int], slot: int = 0, sources: Sequence[str | None] = ("acme",)) -> None:
    """Store leads of these times, of the sources in turn; each second round of them are duplicates."""
    rows = [
        row._replace(
            source=sources[number % len(sources)],
            duplicate_of=row.id if number // len(sources) % 2 else None,
            is_duplicate=bool(number // len(sources) % 2),
        )
        for number, row in enumerate(rows_at(sorted({*times})))
    ]
    with backend.engine.connect() as connection:
        insertion.store(connection, rows, slot)


def stored(backend: Backend, source: str = "acme", width: int = DAY) -> dict[int, int]:
    with backend.engine.connect() as connection:
        return by_source.SOURCE_COUNTS.by_bucket(connection, source, width, 0, END)


def total(backend: Backend, source: str = "acme") -> int:
    with backend.engine.connect() as connection:
        return by_source.SOURCE_COUNTS.total(connection, source)


def rows_of(backend: Backend, source: str = "acme") -> int:
    with backend.engine.connect() as connection:
        return len(connection.execute(select(leads.c.id).where(leads.c.source == source)).all())


def slots(backend: Backend, width: int) -> set[int]:
    with backend.engine.connect() as connection:
        return {*connection.execute(select(source_counts.c.slot).where(source_counts.c.width == width)).scalars()}


def test_what_a_source_has_sent_is_stored_and_counted_as_its_own(backend: Backend):
    # Given leads of two sources and of a user in one batch
    submit(backend, sent(ACME, *EDGES), sent(GLOBEX, NOON, NOON), sent(SourceLimits(""), NOON)._replace(source=None))

    assert Worker(backend).run()["stored"] == len(EDGES) + 3

    # Then the rows say whose they are, and the counts are theirs in each hour and day
    assert (rows_of(backend), rows_of(backend, "globex")) == (len(EDGES), 2)
    with backend.engine.connect() as connection:
        assert connection.execute(select(leads.c.source).where(leads.c.source.is_(None))).all() == [(None,)]
    for width in SOURCE_WIDTHS:
        assert stored(backend, width=width) == Counter(each // MICROS // width * width for each in EDGES)
        assert stored(backend, "globex", width) == {START // width * width: 2}
    assert (total(backend), total(backend, "globex"), total(backend, "nobody")) == (len(EDGES), 2, 0)
    backend.assert_counted()


def test_counts_of_a_span_are_those_that_begin_in_it(backend: Backend):
    store(backend, EDGES)
    day, hour = START - START % DAY, START

    with backend.engine.connect() as connection:
        assert by_source.SOURCE_COUNTS.by_bucket(connection, "acme", HOUR, hour, hour + HOUR) == {hour: 3}
        assert by_source.SOURCE_COUNTS.by_bucket(connection, "acme", HOUR, hour + 1, hour + HOUR) == {}
        assert by_source.SOURCE_COUNTS.by_bucket(connection, "acme", DAY, day, day + DAY) == {day: 5}


@pytest.mark.parametrize("way", ["whole", "row_by_row"])
def test_leads_are_counted_in_the_transaction_that_stores_them(
    backend: Backend, way: str, monkeypatch: pytest.MonkeyPatch
):
    # Given a batch that fails behind the counts, before COMMIT
    if way == "row_by_row":
        store(backend, EDGES[:1])
    before = total(backend)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(insertion, "_complete", fail)
        with pytest.raises(KeyboardInterrupt):
            store(backend, EDGES)

    # Then neither rows nor counts are there
    assert rows_of(backend) == total(backend) == before
    # And the next try counts each once
    store(backend, EDGES)
    assert rows_of(backend) == total(backend) == len(EDGES)
    backend.assert_counted()


def test_a_batch_that_runs_again_counts_once(backend: Backend):
    # Given leads that are committed, and in the queue all the same
    submit(backend, sent(ACME, *EDGES))
    with pytest.raises(StoringFailed):
        Worker(backend, DiesAfterCommit).run()
    assert (total(backend), backend.pending()) == (len(EDGES), len(EDGES))

    # When another worker claims them together with new ones
    submit(backend, sent(ACME, NOON), sent(GLOBEX, NOON))
    other = Worker(backend)
    until(lambda: other.drain(backend))

    assert (total(backend), total(backend, "globex")) == (len(EDGES) + 1, 1)
    backend.assert_counted()


def test_poison_rows_are_not_counted(backend: Backend):
    backend.refuse()
    submit(backend, sent(ACME, *EDGES), sent(ACME, NOON, NOON, firstName=POISON), sent(GLOBEX, NOON, firstName=POISON))

    Worker(backend, dead_letter_max_share=1.0).run()

    assert len(backend.dead()) == 3
    assert rows_of(backend) == total(backend) == len(EDGES)
    assert total(backend, "globex") == 0
    backend.assert_counted()


def test_an_erased_person_is_in_no_count_of_a_source(backend: Backend):
    # Given a person's leads that two sources and a user have sent, between those of others
    submit(backend, sent(ACME, *EDGES), sent(ACME, *EDGES[:3], **ANN), sent(GLOBEX, NOON, **ANN))
    backend.accept(1, **ANN)
    Worker(backend).run()
    submit(backend, sent(ACME, NOON, **ANN))

    # When the person is erased
    erase(backend, "--email", ANN["email"])
    Worker(backend).run()

    # Then their sources have the others' leads alone
    assert rows_of(backend) == total(backend) == len(EDGES)
    assert rows_of(backend, "globex") == total(backend, "globex") == 0
    backend.assert_counted()
    assert off(backend) == 0


@pytest.mark.parametrize("stray", ["none", "before", "after"])
def test_months_past_the_retention_leave_the_counts_of_sources(
    backend: Backend, stray: str, monkeypatch: pytest.MonkeyPatch
):
    # Given leads of a source and of users in the months that are kept, and before
    sources = ("acme", None, "globex")
    store(backend, moments(0, 1, 2, 3, 20), sources=sources)
    remove = retention._remove

    # When old months are removed, and leads of long ago are stored before or after the rows went
    def meanwhile(connection: Connection, cutoff: int) -> None:
        if stray == "before":
            store(backend, moments(30, each=3), sources=sources)
        remove(connection, cutoff)
        if stray == "after":
            store(backend, moments(30, each=3), sources=sources)

    maintenance = Maintenance(backend.engine, backend.with_settings(retention_months=2))
    with monkeypatch.context() as patch, time_machine.travel(NOW / MICROS, tick=True):
        patch.setattr(retention, "_remove", meanwhile)
        maintenance.run()
    # Then the counts are those of the rows
    backend.assert_counted()
    assert total(backend) == rows_of(backend) == (31 if stray == "after" else 30)

    # And in the end those of the months that are kept
    with time_machine.travel(NOW / MICROS, tick=True):
        maintenance.run()
    assert (total(backend), total(backend, "globex")) == (30, 30)
    backend.assert_counted()


@pytest.mark.parametrize("spoil", ["rows", "counts", "another_source", "duplicates"])
def test_counts_that_were_changed_behind_the_back_are_found_and_mended(backend: Backend, spoil: str):
    store(backend, EDGES, 1)
    store(backend, [each + 7 for each in EDGES], 2, ("globex", None))
    with backend.engine.begin() as connection:
        if spoil == "rows":
            connection.execute(update(leads).where(leads.c.source == "globex").values(source=None))
        elif spoil == "counts":
            connection.execute(update(source_counts).where(source_counts.c.width == HOUR).values(stored=99))
        elif spoil == "another_source":
            connection.execute(update(source_counts).where(source_counts.c.source == "acme").values(source="nobody"))
        else:
            connection.execute(update(leads).where(leads.c.source == "globex").values(is_duplicate=True))

    with backend.engine.begin() as connection:
        assert [each for kind in by_source.KINDS for each in kind.differences(connection)] != []
        assert maintain.rebuild(connection) == 2 * len(EDGES)

    backend.assert_counted()
    assert total(backend) == rows_of(backend) == len(EDGES)
    assert total(backend, "globex") == rows_of(backend, "globex")


def test_a_source_that_is_counted_and_has_no_rows_is_a_difference(backend: Backend):
    with backend.engine.begin() as connection:
        by_source.SOURCE_COUNTS.add(connection, [rows_at([NOON])[0]._replace(source="acme")], 0)

    with backend.engine.connect() as connection:
        day = START - START % DAY
        assert sorted(by_source.SOURCE_COUNTS.differences(connection)) == [
            ("acme", HOUR, START, 1, 0),
            ("acme", DAY, day, 1, 0),
        ]


def test_slots_of_hours_and_days_that_are_over_are_merged(backend: Backend):
    # Given counts of several slots
    for slot in range(3):
        store(backend, [each + slot * 10 for each in EDGES], slot, ("acme", "globex"))
    before = {
        (source, width): stored(backend, source, width) for source in ("acme", "globex") for width in SOURCE_WIDTHS
    }
    assert slots(backend, HOUR) == slots(backend, DAY) == {0, 1, 2}

    # When the hours are over and no day is, then only those of the hours are merged
    with backend.engine.begin() as connection:
        by_source.SOURCE_COUNTS.merge_slots(connection, NOON // MICROS + 11.0 * HOUR)
    assert slots(backend, DAY) == {0, 1, 2}
    with backend.engine.begin() as connection:
        by_source.SOURCE_COUNTS.merge_slots(connection, NOON // MICROS + 3.0 * DAY)

    # Then all are, and no number has changed
    assert slots(backend, HOUR) == slots(backend, DAY) == {0}
    after = {
        (source, width): stored(backend, source, width) for source in ("acme", "globex") for width in SOURCE_WIDTHS
    }
    assert after == before
    backend.assert_counted()
    # Also for what comes late
    store(backend, [each + 77 for each in EDGES], 5)
    with backend.engine.begin() as connection:
        by_source.SOURCE_COUNTS.merge_slots(connection, NOON // MICROS + 3.0 * DAY)
    assert slots(backend, HOUR) == {0}
    backend.assert_counted()


@servers_only
def test_a_lead_that_is_counted_while_slots_are_merged_is_kept(backend: Backend):
    # Given counts of two slots, and a process that merges them
    for slot in range(2):
        store(backend, [NOON + slot], slot)
    with ThreadPoolExecutor(1) as thread:
        storing: list[Future[None]] = []

        # When a lead is counted behind the reading of the slots
        def store_and_go_on(*arguments: Any) -> None:
            if arguments[2].startswith("DELETE") and not storing:
                storing.append(thread.submit(store, backend, [NOON + 2], 1))
                until(lambda: blocked(backend) or storing[0].done())

        with backend.engine.begin() as connection:
            event.listen(connection, "before_cursor_execute", store_and_go_on)
            by_source.SOURCE_COUNTS.merge_slots(connection, NOON // MICROS + 3.0 * DAY)
        storing[0].result(30)

    # Then it is in the counts
    assert total(backend) == 3
    backend.assert_counted()
