"""Beat on several hosts, and on none: neither loses a lead or counts one twice."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import Service

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.extended]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path, sweep_interval=0.5) as service:
        yield service


@contextmanager
def another_beat(service: Service, directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a beat as another host does: on the same servers, with a data dir of its own."""
    environment = {
        **service.environment,
        "LEADS_DATA_DIR": str(directory),
        "LEADS_REDIS_URL": f"unix://{service.data / 'redis' / 'redis.sock'}",
        "LEADS_DATABASE_URL": f"sqlite:///{service.data / 'leads.db'}",
    }
    process = subprocess.Popen([sys.executable, "-m", "workers", "beat"], cwd=service.root, env=environment)
    try:
        until(lambda: (directory / "beat.alive").exists() or process.poll() is not None, 60)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def test_two_beats_do_no_harm(service: Service, tmp_path: Path):
    # Given a second beat
    with another_beat(service, tmp_path / "host-2") as other:
        # When leads come in while both send their tasks
        ids = service.accept(*(a_lead() for _ in range(200)))
        service.wait_until_stored(*ids)
        service.wait_for_sweeps(5)

        # Then each lead is a row once, and the counts are right
        assert other.poll() is None
        assert len(service.walk()) == 200
        assert service.balance().startswith("Balanced")
        assert service.page()["pagination"]["total"] == 200


def test_no_beat_costs_nothing_but_a_delay_of_the_upkeep(service: Service):
    # Given a beat that does nothing more
    beat = service.one("beat")
    beat.suspend()
    try:
        # Then leads are stored and counted
        ids = service.accept(*(a_lead() for _ in range(50)))
        service.wait_until_stored(*ids)
        assert service.ledger()["stored"] == 50
        assert service.balance().startswith("Balanced")
    finally:
        beat.resume()
    # And the upkeep is caught up with by the next one
    service.wait_for_sweeps(2)
    assert service.balance().startswith("Balanced")
