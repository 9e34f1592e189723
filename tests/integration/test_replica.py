"""ingest_api.database.replica: reads go to a replica while it keeps up, else to the primary."""

import pytest

from ingest_api.database.replica import Lag
from tests.integration.pairs import Pair
from tests.kit.servers import until

LAG = 1.0


@pytest.mark.slow
def test_reads_go_where_the_leads_are(pair: Pair):
    # Given a replica that keeps up
    pair.store(10)
    until(pair.looks, 20)
    assert pair.served_by(pair.follower)
    assert not pair.served_by(pair.primary)

    # When it stops following, and leads are stored
    pair.follower.stop_applying()
    pair.store(5)

    # Then the primary is read once the replica is too far behind, and all is there
    until(lambda: not pair.looks(), 20, every=0.1)
    assert pair.served_by(pair.primary)
    assert pair.read().total == 15

    # When it goes on, then it is read again by itself
    pair.follower.go_on_applying()
    until(pair.looks, 20, every=0.1)
    assert pair.served_by(pair.follower)
    assert pair.read().total == 15

    # When it hangs, then a request waits no longer than the timeout, and the next ones not at all
    with pair.follower.hanging():
        assert pair.read().total == 15
        assert not pair.reads.usable
        assert pair.read().total == 15
    until(pair.looks, 20, every=0.1)

    # When it is gone, then the request that finds it out is answered all the same
    pair.follower.kill()
    assert pair.read().total == 15
    assert not pair.reads.usable
    assert not pair.looks()
    pair.follower.start()
    until(pair.looks, 20, every=0.1)

    # When the primary is gone, the replica is still read
    pair.primary.kill()
    assert pair.looks()
    assert pair.read().total == 15


def test_lag_is_told_by_what_the_primary_had_so_long_ago():
    now = 100.0
    lag = Lag(5.0, lambda: now)
    assert lag.allows(0)
    for number in range(20):
        now = 100.0 + number
        lag.primary_at(number)

    # At 119 the primary was at 14 five seconds ago
    assert lag.allows(14)
    assert not lag.allows(13)


def test_the_lag_is_the_time_since_the_primary_was_where_the_replica_is():
    now = 0.0
    lag = Lag(5.0, lambda: now)
    found = []

    # The primary stores one lead a second; the replica has none from the third second on, and is away at the last look.
    for second, progress in enumerate([0, 1, 2, 2, 2, 2, None]):
        now = float(second)
        lag.primary_at(second)
        found.append(lag.seconds(progress))

    assert found == [0, 0, 0, 1, 2, 3, 4]
