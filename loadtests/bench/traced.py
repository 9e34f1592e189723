"""Ours with traces on, beside ours without: `make bench ARGS="--only accept --peers traced,traced-tenth"`."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from loadtests.bench.contenders import Ours
from tests.kit.databases import DatabaseServer
from tests.kit.servers import RedisServer


class Traced(Ours):
    """Ours, all of whose requests are traced. Its spans go to a receiver that drops them."""

    name = "traced"
    what = "ours with LEADS_TRACES_URL: every request is traced"
    ratio: ClassVar[float] = 1.0
    database_number: ClassVar[int] = 1  # of Redis: ours without traces has the first one

    def __init__(self, directory: Path, database: DatabaseServer, queue: RedisServer, *, processes: int = 2) -> None:
        self._receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
        threading.Thread(target=self._receiver.serve_forever, daemon=True).start()
        super().__init__(directory, database, queue, processes=processes)
        self._url = queue.url.replace("/0", f"/{self.database_number}")
        self.service.settings.update(
            redis_url=self._url,
            traces_url=f"http://127.0.0.1:{self._receiver.server_address[1]}",
            traces_ratio=self.ratio,
        )

    def stop(self) -> None:
        """Stop it and its receiver."""
        super().stop()
        self._receiver.shutdown()
        self._receiver.server_close()

    def waiting(self) -> int:
        """Return how many leads are in its stream."""
        with self.queue.client() as client:
            client.select(self.database_number)
            return int(client.xlen("leads:stream"))


class TracedTenth(Traced):
    """Ours, a tenth of whose requests are traced."""

    name = "traced-tenth"
    what = "ours with LEADS_TRACES_URL and LEADS_TRACES_RATIO=0.1"
    ratio = 0.1
    database_number = 2


class TracedByParent(Traced):
    """Ours, whose requests are traced when their sender says so, which no request of the bench does."""

    name = "traced-by-parent"
    what = "ours with LEADS_TRACES_URL and LEADS_TRACES_RATIO=0"
    ratio = 0.0
    database_number = 3


class _Receiver(BaseHTTPRequestHandler):
    """Takes whatever it is sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""
