"""schema.counts.by_source.DUPLICATE_COUNTS: how many duplicates of a source and of all are stored, whatever happens."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from sqlalchemy import Connection, delete, select, update

from schema.counts import maintain, retention, totals, write
from schema.counts.by_source import DUPLICATE_COUNTS, KINDS, OF_ALL, SOURCE_COUNTS, SOURCE_WIDTHS
from schema.counts.widths import DAY, HOUR, MICROS
from schema.database.lead_row import LeadRow
from schema.database.tables import duplicate_counts, leads
from tests.integration.backends import POISON, Backend, servers_only
from tests.integration.persons import ANN, erase
from tests.integration.test_counts import START, rows_at
from tests.integration.test_migrations import insert_without_source
from tests.integration.test_partitions import NOW, moments
from workers.store import insertion
from workers.upkeep.maintenance import Maintenance

END = 1 << 40  # seconds since 1970, later than all

NOON = START * MICROS


def marked(times: list[int], source: str | None = None, **fields: Any) -> list[LeadRow]:
    """Return rows of these times that are duplicates of the first."""
    rows = rows_at(times)
    return [row._replace(source=source, duplicate_of=rows[0].id, is_duplicate=True, **fields) for row in rows]


def store(backend: Backend, rows: list[LeadRow], slot: int = 0) -> None:
    with backend.engine.connect() as connection:
        insertion.store(connection, rows, slot)


def counted(backend: Backend, source: str = OF_ALL, width: int = DAY) -> dict[int, int]:
    with backend.engine.connect() as connection:
        found = DUPLICATE_COUNTS.by_bucket(connection, source, width, 0, END)
        assert DUPLICATE_COUNTS.total(connection, source) == sum(found.values()), "the total is not that of the days"
    return found


def numbers(backend: Backend) -> list[int]:
    """Return how many duplicates there are of all, of acme and of globex."""
    return [sum(counted(backend, source).values()) for source in (OF_ALL, "acme", "globex")]


def mixed() -> list[LeadRow]:
    """Return two first leads, and duplicates: three of acme, two of globex, four of users, over two days."""
    days = [NOON, NOON + DAY * MICROS]
    return [
        *rows_at([NOON - 7])[:1],
        *(row._replace(source="acme") for row in rows_at([NOON - 6])),
        *marked([days[0] + 1, days[0] + 2, days[1] + 3], "acme"),
        *marked([days[0] + 4, days[1] + 5], "globex"),
        *marked([days[0] + 6, days[0] + 7, days[1] + 8, days[1] + 9]),
    ]


@pytest.mark.parametrize("way", ["whole", "row_by_row"])
def test_duplicates_are_counted_for_their_source_and_for_all(backend: Backend, way: str):
    # Given a batch, of which a row is there before when it goes row by row
    rows = mixed()
    if way == "row_by_row":
        store(backend, rows[4:5])

    store(backend, rows, 3)

    # Then each hour and day has those of each source, and those of all
    assert numbers(backend) == [9, 3, 2]
    for width in SOURCE_WIDTHS:
        first, second = (second // width * width for second in (START, START + DAY))
        assert counted(backend, width=width) == {first: 5, second: 4}
        assert counted(backend, "acme", width) == {first: 2, second: 1}
        assert counted(backend, "globex", width) == {first: 1, second: 1}
    backend.assert_counted()


@pytest.mark.parametrize("way", ["whole", "row_by_row"])
def test_duplicates_are_counted_in_the_transaction_that_stores_them(
    backend: Backend, way: str, monkeypatch: pytest.MonkeyPatch
):
    rows = mixed()
    before = rows[4:5] if way == "row_by_row" else []
    store(backend, before)

    # When a batch fails behind the counts, before COMMIT
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(insertion, "_complete", fail)
        with pytest.raises(KeyboardInterrupt):
            store(backend, rows)

    # Then nothing of it is counted, and the next try counts it once
    assert numbers(backend)[0] == len(before)
    store(backend, rows)
    store(backend, rows)
    assert numbers(backend) == [9, 3, 2]


def test_poison_rows_are_no_counted_duplicates(backend: Backend):
    backend.refuse()
    rows = mixed()
    rows[3] = rows[3]._replace(first_name=POISON)

    store(backend, rows)

    assert numbers(backend) == [8, 2, 2]
    backend.assert_counted()


def test_what_release_0_1_stores_is_no_duplicate(backend: Backend):
    # Given rows of a worker that knows no duplicates, nor the columns
    store(backend, mixed())
    old = rows_at([NOON + 100, NOON + 101])
    with backend.engine.begin() as connection:
        insert_without_source(connection, old)
        write.add(connection, [row.id for row in old], 0)

    assert numbers(backend) == [9, 3, 2]
    backend.assert_counted()


def test_an_erased_person_is_in_no_count_of_duplicates(backend: Backend):
    # Given duplicates of Ann among those of others
    store(backend, mixed())
    hers = {"email": ANN["email"], "phone": ANN["phone"]}
    store(backend, [*marked([NOON + 50], "acme", **hers), *marked([NOON + 60, NOON + DAY * MICROS + 70], **hers)])
    assert numbers(backend) == [12, 4, 2]

    erase(backend, "--email", ANN["email"])

    assert numbers(backend) == [9, 3, 2]
    backend.assert_counted()


@pytest.mark.parametrize("stray", [False, True])
def test_months_past_the_retention_leave_the_counts_of_duplicates(
    backend: Backend, stray: bool, monkeypatch: pytest.MonkeyPatch
):
    # Given duplicates in months that are kept, and before
    store(backend, [*marked(moments(0, 1, 2), "acme"), *marked([each + 1 for each in moments(0, 3, 20)])])
    remove = retention._remove

    # When old months are removed, and duplicates of long ago are stored behind the removal of their rows
    def meanwhile(connection: Connection, cutoff: int) -> None:
        remove(connection, cutoff)
        if stray:
            store(backend, marked(moments(30, each=3), "acme"))

    maintenance = Maintenance(backend.engine, backend.with_settings(retention_months=2))
    with monkeypatch.context() as patch, time_machine.travel(NOW / MICROS, tick=True):
        patch.setattr(retention, "_remove", meanwhile)
        maintenance.run()

    # Then the counts are those of the rows, and in the end those of the months that are kept
    assert numbers(backend) == ([123, 93, 0] if stray else [120, 90, 0])
    backend.assert_counted()
    with time_machine.travel(NOW / MICROS, tick=True):
        maintenance.run()
    assert numbers(backend) == [120, 90, 0]
    backend.assert_counted()


@pytest.mark.parametrize("spoil", ["rows", "counts", "gone", "of_all"])
def test_counts_of_duplicates_that_were_changed_behind_the_back_are_found_and_mended(backend: Backend, spoil: str):
    store(backend, mixed(), 1)
    with backend.engine.begin() as connection:
        if spoil == "rows":
            connection.execute(update(leads).where(leads.c.source == "globex").values(is_duplicate=False))
        elif spoil == "counts":
            connection.execute(update(duplicate_counts).where(duplicate_counts.c.width == HOUR).values(stored=99))
        elif spoil == "gone":
            connection.execute(delete(duplicate_counts))
        else:
            connection.execute(update(duplicate_counts).where(duplicate_counts.c.source == OF_ALL).values(stored=99))

    with backend.engine.begin() as connection:
        assert list(SOURCE_COUNTS.differences(connection)) == []
        assert list(DUPLICATE_COUNTS.differences(connection)) != []
        maintain.rebuild(connection)

    backend.assert_counted()
    assert numbers(backend) == ([7, 3, 0] if spoil == "rows" else [9, 3, 2])


def test_slots_of_duplicates_are_merged_by_the_maintenance(backend: Backend):
    # Given counts of several slots
    for slot, row in enumerate(mixed()):
        store(backend, [row], slot)
    table = duplicate_counts

    with time_machine.travel(START + 3 * DAY, tick=True):
        Maintenance(backend.engine, backend.settings).run()

    with backend.engine.connect() as connection:
        assert {*connection.execute(select(table.c.slot)).scalars()} == {0}
    assert numbers(backend) == [9, 3, 2]
    backend.assert_counted()


@servers_only
def test_all_that_changes_the_counts_locks_them_in_one_order(backend: Backend):
    # Given four workers that store duplicates in the same slots, while slots are merged and the counts made anew
    def work(worker: int) -> None:
        for number in range(25):
            time = NOON + (worker * 25 + number) * 1000
            rows = marked([time], "acme") + marked([time + 1], "globex") + marked([time + 2])
            store(backend, rows, number % 2)

    def tend() -> None:
        for number in range(10):
            with backend.engine.connect() as connection:
                with connection.begin():
                    for kind in KINDS:
                        kind.merge_slots(connection, START + 3.0 * DAY)
                if number % 5 == 4:
                    with connection.begin():
                        maintain.rebuild(connection)

    with ThreadPoolExecutor(5) as threads:
        for each in [*(threads.submit(work, worker) for worker in range(4)), threads.submit(tend)]:
            each.result(60)

    # Then nobody was a deadlock's victim, and each is counted once
    assert numbers(backend) == [300, 100, 100]
    backend.assert_counted()
    with backend.engine.connect() as connection:
        assert totals.total(connection) == 300
