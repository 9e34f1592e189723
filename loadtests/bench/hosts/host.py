"""A host: an API and a worker, each of one process, and in a Cluster the primary of a shard, all within one bound."""

import re
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from loadtests.bench.hosts.bound import Bound, Hierarchy
from loadtests.bench.hosts.process import Process
from tests.kit.cluster import Node
from tests.kit.ports import free_port
from tests.kit.servers import until
from tests.kit.service import START_DEADLINE, Service

# A histogram's sum and count in the text of /metrics.
_SAMPLE = re.compile(r"^(\w+)_(sum|count) (\S+)$", re.MULTILINE)


class BoundNode(Node):
    """A node of a Redis Cluster within a host's bound."""

    def __init__(self, bound: Bound) -> None:
        super().__init__()
        self._bound = bound

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        return [*self._bound.prefix(), *super().command()]


class Host:
    """One host. Its bound is lifted until `bound.hold`, so that it starts quickly."""

    def __init__(self, hierarchy: Hierarchy, number: int) -> None:
        self.number = number
        self.bound = Bound(hierarchy, f"host-{number}")
        self.service: Service | None = None
        self._stack = ExitStack()
        self._processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(self.bound)
        return self

    def __exit__(self, *_: object) -> None:
        self.bound.lift()
        self._stack.close()

    def start(self, directory: Path, settings: dict[str, Any]) -> None:
        """Start API and worker with these settings."""
        name = f"host-{self.number}"
        service = Service(directory / name, worker_metrics_port=free_port(), **settings)
        service.data.mkdir(parents=True, exist_ok=True)
        self.service = service
        self._stack.callback(service.client.close)
        for part, module, command in (("api", "ingest_api", "serve"), ("worker", "workers", "worker")):
            log = directory / f"{name}-{part}.log"
            self._processes[part] = Process(module, command, service.environment, log, self.bound)
            self._stack.callback(self._processes[part].stop)

    def wait(self) -> None:
        """Wait until API and worker are ready. Raises CannotStart."""
        for url in (f"{self.url}/health/live", self._worker_url):
            until(partial(self._answers, url), START_DEADLINE, 0.1)

    @property
    def url(self) -> str:
        """The API's address."""
        assert self.service is not None
        return self.service.base_url

    def processes(self, part: str) -> list[psutil.Process]:
        """Return the processes of the part `api` or `worker`."""
        return self._processes[part].family()

    def histograms(self) -> dict[str, float]:
        """Return the sums and counts of flushes and batches: `leads_flush_requests_sum` and so on."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text + httpx.get(self._worker_url, timeout=30).text
        return {f"{name}_{kind}": float(value) for name, kind, value in _SAMPLE.findall(text)}

    @property
    def _worker_url(self) -> str:
        assert self.service is not None
        return f"http://127.0.0.1:{self.service.settings['worker_metrics_port']}/metrics"

    def _answers(self, url: str) -> bool:
        for each in self._processes.values():
            each.check()
        try:
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False
