"""Traces and the service that exports them: at its stop, without its collector, and without the setting."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.kit.ports import free_port
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service
from tests.kit.traces import TraceReceiver

from .traced_leads import BATCH, FLUSH, INSERT, OFTEN, POST, STORE, a_parent, exporting, send


@pytest.mark.slow
def test_the_last_spans_are_exported_at_the_stop(tmp_path: Path):
    # Given a service that would export in an hour
    with TraceReceiver() as receiver:
        with exporting("3600000"), Service(tmp_path, traces_url=receiver.url) as service:
            trace, _, traceparent = a_parent()
            service.wait_until_stored(send(service, traceparent))
            assert receiver.spans == []

            assert service.stop() == 0

        assert receiver.trace(trace).keys() == {POST, FLUSH, STORE, BATCH, INSERT}


@contextmanager
def hanging() -> Iterator[tuple[str, list[socket.socket]]]:
    """Yield the URL of a receiver that takes connections and never answers, and its connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def hold() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=hold, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", held
        for each in held:
            each.close()


@contextmanager
def away() -> Iterator[tuple[str, list[socket.socket]]]:
    """Yield a URL that nobody listens on, and no connection."""
    yield f"http://127.0.0.1:{free_port()}", []


@pytest.mark.slow
@pytest.mark.parametrize("collector", [away, hanging])
def test_without_its_collector_a_service_loses_spans_alone(tmp_path: Path, collector, record_property):
    # Given a collector that is away, or hangs, and a small queue of spans
    with collector() as (url, _), pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", OFTEN)
        environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
        with Service(tmp_path, traces_url=url, http_workers=1, worker_concurrency=1) as service:
            # When leads come in for longer than an export may take
            took, ids = [], []
            end = time.monotonic() + 5
            while time.monotonic() < end:
                started = time.monotonic()
                ids.append(send(service, a_parent()[2]))
                took.append(time.monotonic() - started)
            # Then each is stored, and none waited for the collector
            service.wait_until_stored(*ids[-50:])
            record_property("slowest", max(took))
            assert sorted(took)[len(took) // 2] < 0.5
            # And the service stops as soon as ever
            started = time.monotonic()
            assert service.stop(signal.SIGTERM) == 0
            record_property("stop", time.monotonic() - started)
            lines = [(service.data / "logs" / f"{name}.log").read_text().splitlines() for name in ("api", "worker")]
    # And says so once in each process
    for each in lines:
        assert sum("traces not exported" in line for line in each) == 1
        assert not [line for line in each if "opentelemetry.exporter" in line]


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_collector_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", OFTEN)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    with hanging() as (url, connections), Service(tmp_path, traces_url=url, worker_concurrency=1) as service:
        # Given an export of an API process and one of a worker that go on for a minute
        service.wait_until_stored(send(service, a_parent()[2]))
        until(lambda: len(connections) >= 2, 10, 0.05)
        api, pool = service.one("api").children(), service.one("worker").children(recursive=True)

        # When it stops
        started = time.monotonic()
        service.one("api").terminate()
        service.one("worker").terminate()

        # Then its processes end as they do without
        gone, alive = psutil.wait_procs([*api, *pool], timeout=10)
        assert not alive
        assert len(gone) >= 2
        assert time.monotonic() - started < 10


@pytest.mark.slow
def test_without_the_setting_an_entry_holds_the_lead_alone(tmp_path: Path):
    with RedisServer() as queue, Service(tmp_path, redis_url=queue.url) as service, closing(queue.client()) as client:
        # Given a queue that nobody empties
        worker = service.one("worker")
        pool = [worker, *worker.children(recursive=True)]
        for each in pool:
            each.suspend()

        # When a sender traces a lead
        send(service, a_parent()[2], tracestate="vendor=opaque")

        # Then its entry does not know
        [(_, fields)] = client.xrange("leads:stream")
        assert fields.keys() == {b"lead"}
