"""A group whose members all take writes: who loses a conflict is told so in one of two ways, and runs again at once."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from schema.counts import totals
from schema.database import engines
from schema.database.errors import Reaction, reaction_to
from schema.database.migrations.runner import migrate
from tests.integration.backends import Backend, backend_at
from tests.integration.workers import Worker
from tests.kit.group_replication import GroupReplication
from tests.kit.servers import Place, RedisServer, until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.extended]

# The two ways: a local transaction that a certified one meets has to go, and is told at its COMMIT; and the group
# refuses one that it hears of too late.
ABORTED, REFUSED = 1180, 3101


@pytest.fixture(scope="module")
def group() -> Iterator[GroupReplication]:
    with GroupReplication((Place(),) * 3, "--replica-parallel-workers=1", routers=(), several_primaries=True) as made:
        migrate(made.direct_url(made.members[0]))
        yield made


@pytest.fixture
def grouped(group: GroupReplication, own_redis_with_mysql: RedisServer, tmp_path: Path) -> Iterator[Backend]:
    """A backend at the second member."""
    until(lambda: has_all(group), 30)
    with backend_at(group.direct_url(group.members[1]), own_redis_with_mysql, tmp_path) as backend:
        yield backend


def has_all(group: GroupReplication) -> bool:
    """Tell whether the second member has applied what the first one has."""
    there = group.members[0].execute("SELECT @@GLOBAL.gtid_executed")[0][0]
    return bool(group.members[1].execute("SELECT GTID_SUBSET(%s, @@GLOBAL.gtid_executed)", there)[0][0])


class Rival:
    """Somebody who writes at the first member what a transaction at the second one is about to commit."""

    def __init__(self, group: GroupReplication, code: int) -> None:
        self.code = code
        self._group = group
        self._engine = engines.writer(group.direct_url(group.members[0]), timeout=10)

    def write(self) -> None:
        """Change the totals, so that the other one loses in the way of `code`."""
        if self.code == REFUSED:
            self._group.members[1].stop_applying(f"{self._engine.url.database}.dropped_leads")
        with self._engine.begin() as connection:
            connection.execute(text("INSERT INTO dropped_leads VALUES (UUID_TO_BIN(UUID()), NOW())"))
        with self._engine.begin() as connection:
            totals.lock(connection)
            connection.execute(text("UPDATE lead_totals SET revision = revision + 1"))
        if self.code == ABORTED:
            until(lambda: has_all(self._group), 30)

    def give_way(self) -> None:
        """Undo what `write` did to the second member."""
        self._group.members[1].go_on_applying()
        until(lambda: has_all(self._group), 30)


@pytest.mark.parametrize("code", [ABORTED, REFUSED])
def test_the_loser_of_a_conflict_is_told_to_run_again(group: GroupReplication, grouped: Backend, code: int):
    rival = Rival(group, code)
    with grouped.engine.connect() as connection:
        transaction = connection.begin()
        totals.add(connection, slot=0, total_stored=1)
        rival.write()
        with pytest.raises(DBAPIError) as error:
            transaction.commit()
    rival.give_way()
    assert error.value.orig is not None
    assert error.value.orig.args[0] == code
    assert reaction_to(error.value) is Reaction.RETRY


@pytest.mark.parametrize("code", [ABORTED, REFUSED])
def test_a_batch_that_loses_a_conflict_is_stored_by_the_same_ticket(
    group: GroupReplication, grouped: Backend, code: int, record_property: Callable[[str, object], None]
):
    # Given a batch whose first COMMIT comes too late
    rival = Rival(group, code)
    worker = Worker(grouped)
    worker.run()
    ids = grouped.accept(5)
    ways = iter([rival.write])
    event.listen(worker.engine, "commit", lambda _: next(ways, lambda: None)())
    event.listen(worker.engine, "handle_error", lambda _: rival.give_way())

    # When it is stored
    begun = time.monotonic()
    outcome = worker.run()
    record_property("seconds with one conflict", time.monotonic() - begun)

    # Then the same ticket stores it, and the next one waits for nothing
    assert worker.errors == [code]
    assert outcome == {"stored": 5, "duplicates": 0, "dead": 0}
    ids += grouped.accept(1)
    assert worker.run()["stored"] == 1
    assert grouped.stored() == set(ids)
    grouped.assert_counted()
