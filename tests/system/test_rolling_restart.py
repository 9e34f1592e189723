"""A rolling restart under load: clients see nothing but connections that end, and can be tried again."""

import signal
from collections.abc import Iterator

import pytest

from tests.kit import load
from tests.kit.servers import until
from tests.kit.service import Service

from .test_sudden_death import BOOT, assert_stored_once, is_another

LEADS = 1_500

# Seconds for a process to stop and be back. Celery may wait thirty for a pool process whose result nobody reads.
STOPPED = 60.0


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of its own: it is restarted piece by piece."""
    with Service(tmp_path_factory.mktemp("rolling"), claim_after=2, sweep_interval=1, http_workers=2) as service:
        yield service


@pytest.mark.parametrize("name", ["api", "worker", "beat"])
def test_a_process_that_is_asked_to_stop_finishes_what_it_began(own: Service, name: str):
    phone = f"+4450{['api', 'worker', 'beat'].index(name)}12"
    asked = own.one(name)

    ledger = load.send(own, LEADS, halfway=asked.terminate, phone=phone)

    until(lambda: is_another(own.find(name), asked), STOPPED)
    assert ledger.refused == 0
    assert_stored_once(own, ledger, phone)


def test_the_api_processes_are_replaced_one_after_the_other(own: Service):
    master = own.one("api")
    before = {child.pid for child in master.children()}

    # gunicorn's reload: new processes take over, the old ones finish their requests.
    ledger = load.send(own, LEADS, halfway=lambda: master.send_signal(signal.SIGHUP), phone="+4450999")

    until(lambda: not before & {child.pid for child in master.children()}, BOOT)
    assert own.one("api").pid == master.pid
    assert ledger.refused == 0
    assert_stored_once(own, ledger, "+4450999")
