"""schema.database.partitions, workers.upkeep.maintenance: months ahead are made, months behind go with their counts."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
import time_machine
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from ingest_api.reads import pages
from schema.counts import maintain, retention, totals
from schema.counts.lookup import BucketCache
from schema.counts.widths import MICROS
from schema.database import partitions
from schema.database.migrations.runner import migrate
from schema.database.partitions import CATCH_ALL, MONTHS_AHEAD, Month
from tests.integration.backends import Backend, servers_only
from tests.integration.lead_list import query
from tests.integration.test_counts import assert_agrees, rows_at
from tests.integration.test_migrations import insert_without_source
from tests.kit.databases import DatabaseServer
from workers.store import insertion
from workers.upkeep.maintenance import Maintenance

NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * MICROS


def moments(*months: int, each: int = 30) -> list[int]:
    """Return times in the months that lie so many months before NOW's, in order."""
    return sorted((Month.at(NOW) + -ago).start + number * 3600 * MICROS for ago in months for number in range(each))


def store(backend: Backend, times: list[int]) -> None:
    with backend.engine.connect() as connection:
        insertion.store(connection, rows_at(times), 0)


def names(backend: Backend) -> list[str]:
    with backend.engine.connect() as connection:
        return partitions.existing(connection)


def listed(connection: Connection) -> tuple[int, int]:
    """Return the total and the number of leads of all pages."""
    found, page = 0, 1
    while rows := pages.fetch_page(connection, query(limit=100, page=page, sortOrder="ASC"), None, BucketCache()).rows:
        found += len(rows)
        page += 1
    return pages.fetch_page(connection, query(), None, BucketCache()).total, found


def test_months_are_counted_over_the_ends_of_years():
    assert Month(2026, 11) + 2 - Month(2026, 12) == 1
    assert (Month(2026, 11) + 2).name == "p202701"
    assert Month.named("p202701").start == int(datetime(2027, 1, 1, tzinfo=UTC).timestamp()) * MICROS
    assert Month.at(NOW).name == "p202611"
    assert (Month(2026, 1) + -1).name == "p202512"


@servers_only
def test_a_migrated_table_has_this_month_and_some_ahead(backend: Backend):
    month = Month.at(time.time_ns() // 1000)

    assert names(backend)[-2:] == [(month + MONTHS_AHEAD).name, CATCH_ALL]
    assert month.name in names(backend)


@servers_only
def test_months_are_made_as_time_goes_on(backend: Backend):
    before = names(backend)
    later = datetime.now(UTC).replace(year=datetime.now(UTC).year + 1)

    with time_machine.travel(later, tick=True), ThreadPoolExecutor(3) as threads:
        # Any number at the same time
        made = [each.result() for each in [threads.submit(Maintenance(backend.engine, backend.settings).run)] * 3]
        again = Maintenance(backend.engine, backend.settings).run()

    newest = Month.at(int(later.timestamp()) * MICROS) + MONTHS_AHEAD
    assert names(backend)[-2:] == [newest.name, CATCH_ALL]
    assert names(backend)[: len(before) - 1] == before[:-1]
    assert (made[0]["months"], again["months"]) == (12, 0)


def test_a_table_with_leads_is_taken_there_and_back(database_server: DatabaseServer):
    # Given a table of the release before, with leads of three months
    url = database_server.create_database()
    migrate(url, "0003")
    engine = create_engine(url, poolclass=NullPool)
    times = moments(1, 2, 14)
    with engine.begin() as connection:
        insert_without_source(connection, rows_at(times))

    migrate(url)

    with engine.begin() as connection:
        maintain.rebuild(connection)
    with engine.connect() as connection:
        there = partitions.existing(connection)
        assert there[0] == (Month.at(NOW) + -14).name
        for name in (there[0], (Month.at(NOW) + -1).name):
            assert connection.execute(text(f"SELECT COUNT(*) FROM leads PARTITION ({name})")).scalar() == 30
        assert_agrees(connection, times)


@pytest.mark.parametrize("stray", ["none", "before", "after"])
def test_months_past_the_retention_go_with_their_counts(backend: Backend, stray: str, monkeypatch: pytest.MonkeyPatch):
    # Given leads of the current month, of three months before, and of long ago
    store(backend, moments(0, 1, 2, 3, 20))
    kept = moments(0, 1, 2)

    # When two months beside the current one are kept, and leads of long ago are stored before or after the rows went
    remove = retention._remove

    def meanwhile(connection: Connection, retention_cutoff: int) -> None:
        if stray == "before":
            store(backend, moments(30, each=3))
        remove(connection, retention_cutoff)
        if stray == "after":
            store(backend, moments(30, each=3))

    monkeypatch.setattr(retention, "_remove", meanwhile)
    maintenance = Maintenance(backend.engine, backend.with_settings(retention_months=2))
    with time_machine.travel(NOW / MICROS, tick=True):
        done = maintenance.run()
    # Then total and pages agree with the rows
    left = 93 if stray == "after" else 90
    assert len(backend.stored()) == left
    with backend.engine.connect() as connection:
        assert listed(connection) == (left, left)

    # And in the end all is gone that should be, and what was ever stored is known
    monkeypatch.undo()
    with time_machine.travel(NOW / MICROS, tick=True):
        again = maintenance.run()
    assert (done["expired"], again["expired"]) == {"none": (60, 0), "before": (63, 0), "after": (60, 3)}[stray]
    with backend.engine.connect() as connection:
        version = totals.version(connection)
        assert (version.total, version.expired, version.retention_cutoff) == (90, 60 if stray == "none" else 63, 0)
        assert_agrees(connection, kept)
        assert listed(connection) == (90, 90)
    backend.assert_counted()


@servers_only
@pytest.mark.parametrize("when", ["before", "after"])
def test_two_processes_that_both_hold_the_lock_count_once(backend: Backend, when: str, monkeypatch: pytest.MonkeyPatch):
    # Given two servers of a group, each of which has granted the lock to somebody
    store(backend, moments(0, 5))
    remove = retention._remove
    monkeypatch.setattr(retention, "alone", lambda connection: nullcontext(True))

    def beside_another(connection: Connection, cutoff: int) -> None:
        monkeypatch.setattr(retention, "_remove", remove)
        if when == "after":
            remove(connection, cutoff)
        with backend.engine.connect() as other:
            assert retention.expire(other, 2, NOW) == 0
        if when == "before":
            remove(connection, cutoff)

    # When a second one runs while the first one removes the rows
    monkeypatch.setattr(retention, "_remove", beside_another)
    with backend.engine.connect() as connection:
        assert retention.expire(connection, 2, NOW) == 30

    # Then each lead is subtracted once, and the cutoff is gone
    with backend.engine.connect() as connection:
        version = totals.version(connection)
        assert (version.total, version.expired, version.retention_cutoff) == (30, 30, 0)
        assert listed(connection) == (30, 30)
    backend.assert_counted()


def test_while_a_month_is_being_removed_total_and_pages_agree(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    # Given a removal that is cut short after the cutoff was set
    store(backend, moments(0, 5))

    class Cut(Exception):
        pass

    def cut(*_: object) -> None:
        raise Cut

    with backend.engine.connect() as connection, monkeypatch.context() as patch:
        patch.setattr(retention, "_remove", cut)
        with pytest.raises(Cut):
            retention.expire(connection, 2, NOW)

    # Then nobody sees the half that is left
    with backend.engine.connect() as connection:
        assert len(backend.stored()) == 60
        assert listed(connection) == (30, 30)
        assert pages.fetch_page(connection, query(sortBy="email", limit=100), None, BucketCache()).total == 30
        connection.rollback()

        # And the next run goes on with it
        assert retention.expire(connection, 2, NOW) == 0
        assert listed(connection) == (30, 30)
    assert len(backend.stored()) == 30
    backend.assert_counted()


def test_without_a_retention_nothing_goes(backend: Backend):
    store(backend, moments(0, 5, 50))

    assert Maintenance(backend.engine, backend.settings).run()["expired"] == 0
    assert len(backend.stored()) == 90
