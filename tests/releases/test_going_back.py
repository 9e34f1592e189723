"""The way back from this release to the last one, in the order of docs/operations.md."""

import pytest

from tests.releases.processes import WORKER_STOP_TIMEOUT, Installation
from tests.releases.trickle import Trickle

LAST_REVISION = "0004"


@pytest.mark.extended
@pytest.mark.timeout(120)
@pytest.mark.parametrize("database_server", ["mariadb"], indirect=True)
def test_the_last_release_goes_on_where_this_one_ended(installation: Installation):
    # Given leads that both releases stored, and the tables of this one
    commands = installation.commands(installation.new)
    commands.must("schema", "migrate", "--before")
    api = installation.api(installation.new).start()
    with Trickle(api) as trickle:
        for root in (installation.last, installation.new):
            worker = installation.worker(root).start()
            trickle.goes_on()
            with trickle.paused():
                api.wait_until_nothing_waits()
            worker.finish(WORKER_STOP_TIMEOUT)
        commands.must("schema", "migrate")

        # When the tables go back with no worker at work, while leads are accepted
        commands.must("schema", "downgrade", LAST_REVISION)
        trickle.goes_on()
        old_api = installation.api(installation.last).start()
        trickle.open(old_api)
        trickle.close(api)
        installation.worker(installation.last).start()
        trickle.goes_on()
    assert trickle.wrong == []

    # Then the last release has all of them, counts them right, and knows their keys
    old_api.wait_until_nothing_waits()
    assert old_api.page(limit=1)["pagination"]["total"] == len(trickle.accepted)
    assert sorted(each["id"] for each in old_api.walk()) == sorted(trickle.accepted)
    assert all(request.send_again(old_api) == request.ids for request in trickle.keyed[:20])
    old_commands = installation.commands(installation.last)
    assert old_commands.balance().startswith("Balanced")
    assert old_commands.must("schema", "counts") == "The counts equal the rows.\n"
