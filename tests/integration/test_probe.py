"""ingest_api.intake.probe: the API takes traffic only when Redis takes leads."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest_api.intake.probe import QueueTakesNothing, append_probe
from tests.integration.backends import Backend


def test_it_appends_by_the_leads_own_script_and_leaves_nothing(backend: Backend):
    append_probe(backend.settings, 0)

    called = backend.client.info("commandstats")
    assert called["cmdstat_xadd"]["calls"] >= 1
    assert backend.client.keys("*") == []


def test_a_replica_is_refused_with_the_reason(backend: Backend):
    backend.client.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(QueueTakesNothing, match=r"^ReadOnlyError: "):
            append_probe(backend.settings, 0)
    finally:
        backend.client.replicaof("NO", "ONE")


def test_a_redis_without_memory_passes(backend: Backend):
    backend.client.config_set("maxmemory", 1)
    try:
        append_probe(backend.settings, 0)
    finally:
        backend.client.config_set("maxmemory", 0)


def test_a_redis_that_starts_later_is_waited_for(backend: Backend):
    # Given a Redis that is not there yet
    backend.queue.kill()
    with pytest.raises(QueueTakesNothing, match=r"^ConnectionError: "):
        append_probe(backend.settings, 0)

    # When it starts while the probe waits
    with ThreadPoolExecutor() as threads:
        probe = threads.submit(append_probe, backend.settings, 30)
        backend.queue.start()

        assert probe.result(60) is None
