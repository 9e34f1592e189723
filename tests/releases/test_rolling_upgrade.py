"""A rolling upgrade from the last release under load, in the order of docs/operations.md."""

import time

import pytest
from sqlalchemy import Connection, create_engine, func, select, text
from sqlalchemy.pool import NullPool

from schema.counts import maintain
from schema.database.tables import dirty_minutes, lead_counts, lead_totals, leads
from schema.lead import lead_id
from tests.kit.servers import until
from tests.releases.processes import WORKER_STOP_TIMEOUT, Api, Installation
from tests.releases.trickle import Trickle

# Seconds for an API process to answer what it has begun.
API_STOP_TIMEOUT = 20.0


def assert_lists_are_right(trickle: Trickle, *apis: Api) -> None:
    """Wait until all that was accepted is stored; compare total, pages and cursors of each API with it."""
    with trickle.paused():
        apis[0].wait_until_nothing_waits(within=30)
        for api in apis:
            pagination = api.page(limit=100)["pagination"]
            assert pagination["total"] == len(trickle.accepted)
            pages = [api.page(limit=100, page=1 + each)["items"] for each in range(pagination["total_pages"])]
            by_page = [each["id"] for page in pages for each in page]
            assert sorted(by_page) == sorted(trickle.accepted)
            assert [each["id"] for each in api.walk()] == by_page


def widths(connection: Connection) -> set[int]:
    """Return where lead_counts keeps sums (0) and dirty minutes (-1) as release 0.1 did."""
    return set(connection.execute(select(lead_counts.c.width).where(lead_counts.c.width <= 0)).scalars())


def totals_in(connection: Connection) -> int:
    """Return how many leads the new table of sums knows of."""
    return int(connection.execute(select(func.coalesce(func.sum(lead_totals.c.total_stored), 0))).scalar_one())


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "database_server", ["mysql", pytest.param("mariadb", marks=pytest.mark.extended)], indirect=True
)
def test_nothing_is_lost_or_wrong_while_processes_are_replaced_one_by_one(installation: Installation):
    last, new = installation.last, installation.new
    commands = installation.commands(new)
    engine = create_engine(installation.url, poolclass=NullPool)

    # Given the last release at work
    old_api = installation.api(last).start()
    old_worker = installation.worker(last).start()
    old_beat = installation.beat(last).start()
    with Trickle(old_api) as trickle:
        trickle.goes_on()

        # When the first migrations run, then its own processes notice nothing
        commands.must("schema", "migrate", "--before")
        trickle.goes_on()
        assert_lists_are_right(trickle, old_api)

        # When the API is replaced, then both list what the old workers store
        new_api = installation.api(new).start()
        trickle.open(new_api)
        trickle.goes_on()
        assert_lists_are_right(trickle, old_api, new_api)
        with engine.connect() as connection:
            assert totals_in(connection) == 0
        from_the_old = list(trickle.keyed)
        trickle.close(old_api)
        old_api.finish(API_STOP_TIMEOUT)

        # When workers and beat are, then the new API counts what either stores
        new_worker = installation.worker(new).start()
        with engine.connect() as connection:
            until(lambda: totals_in(connection) > 0 or connection.rollback(), 30)
        trickle.goes_on()
        for task in ("sweep", "tend"):
            # As the old beat sends it.
            commands.must("celery", "-A", "workers.app", "call", task, "--queue", "leads:sweeps")
        assert_lists_are_right(trickle, new_api)
        installation.beat(new).start()
        old_beat.finish(WORKER_STOP_TIMEOUT)
        old_worker.finish(WORKER_STOP_TIMEOUT)
        trickle.goes_on()
        assert_lists_are_right(trickle, new_api)
        with engine.connect() as connection:
            assert widths(connection) == {0, -1}

        # And the last migrations run
        commands.must("schema", "migrate")
        trickle.goes_on()
        assert_lists_are_right(trickle, new_api)
    assert trickle.wrong == []

    # Then each 202 is one row, and every number agrees
    new_api.wait_until_nothing_waits()
    for request in (*from_the_old[:20], *trickle.keyed[-5:]):
        assert request.send_again(new_api) == request.ids
    with engine.begin() as connection:
        rows = [lead_id.to_text(bytes(each)) for each in connection.execute(select(leads.c.id)).scalars()]
        assert sorted(rows) == sorted(trickle.accepted)
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "0015"
        assert widths(connection) == set()
        maintain.compact_minutes(connection, maintain.due(connection, 1000, time.time() + 3600))
        assert connection.execute(select(dirty_minutes)).all() == []
    assert commands.balance().startswith("Balanced")
    assert commands.must("schema", "counts") == "The counts equal the rows.\n"
    assert "unregistered" not in new_worker.errors
