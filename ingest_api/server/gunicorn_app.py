"""The server: gunicorn around uvicorn workers."""

import asyncio
import gc
import logging
import math
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from prometheus_client import multiprocess
from uvicorn.config import Config
from uvicorn.server import Server as UvicornServer
from uvicorn_worker import UvicornWorker

from ingest_api.server import coalescing_transport, listeners
from schema.settings import Settings

# Seconds between two looks at whether gunicorn's master still lives.
ORPHAN_CHECK = 0.2

# Seconds a connection may stay open between two requests; longer than common proxies keep theirs idle.
KEEP_ALIVE = 75

# Seconds without a heartbeat after which the master kills a worker.
HEARTBEAT_TIMEOUT = 30

# Seconds between two looks at whether a stopping process has connections left.
DRAIN_CHECK = 0.05

# Longest time (seconds) that a stopping process spends on emptying its accept queue: under load it may never be empty.
ACCEPT_QUEUE_TIMEOUT = 1.0

# Seconds by which uvicorn's stop timeout is shorter than gunicorn's.
STOP_MARGIN = 3

# New objects between two looks of the garbage collector; a request in flight keeps some hundred. With 50,000 the looks
# were pauses of up to 50 ms, and the garbage took 10 MiB more.
GC_THRESHOLD = 10_000

# GIL switch interval, seconds. A reader thread asks for the GIL up to ten times per list; at CPython's 5 ms that wait
# dominates list latency under write load.
GIL_SWITCH_INTERVAL = 0.0005


class Log(Logger):
    """gunicorn's log, sent to ours."""

    def setup(self, cfg: Any) -> None:
        """Leave all writing to the root logger."""
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True


class DrainingServer(UvicornServer):
    """uvicorn's server, with a way out that a proxy can live with: new connections are refused, open ones are served.

    A proxy that keeps connections open may be sending a request on one that looks idle from here. Such a request is
    still answered, and told to be the last one on its connection.
    """

    def __init__(self, config: Config, drain: float) -> None:
        super().__init__(config)
        self._drain = drain  # seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve what is open until the others have let go of it, for the time given, and then stop as uvicorn does."""
        for each in sockets or []:
            # The shortest accept queue: while one connection waits in it, the kernel drops further SYNs, whose senders
            # try again. One that comes between the last look and the end is reset: it was promised nothing.
            each.listen(0)
        given_up = time.monotonic() + ACCEPT_QUEUE_TIMEOUT
        while listeners.has_pending_connections(sockets or []) and time.monotonic() < given_up:
            await asyncio.sleep(0)  # each turn of the event loop accepts
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(DRAIN_CHECK)  # what was accepted last is open by then
        end = time.monotonic() + self._drain
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(DRAIN_CHECK)
        await super().shutdown()


class Worker(UvicornWorker):
    """An API process. It leaves, after its open requests, when its master was killed: the next one needs the port."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": coalescing_transport.Protocol,
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        # We read X-Forwarded-For ourselves; uvicorn would believe any loopback peer.
        "proxy_headers": False,
        "server_header": False,
    }

    # Seconds; set by the server before the fork.
    drain: ClassVar[float] = 0.0
    send_timeout: ClassVar[int] = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logging.getLogger("uvicorn.error").propagate = True

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        timeout = int(self.cfg.graceful_timeout) - math.ceil(self.drain)
        self.config.timeout_graceful_shutdown = max(1, timeout - STOP_MARGIN)
        for each in self.sockets:
            listeners.set_send_timeout(each, self.send_timeout)
        server = DrainingServer(self.config, self.drain)
        self._install_sigquit_handler()
        watch = asyncio.create_task(self._leave_with_master(server))
        await server.serve(sockets=self.sockets)
        watch.cancel()
        if not server.started:
            raise SystemExit(Arbiter.WORKER_BOOT_ERROR)

    async def _leave_with_master(self, server: UvicornServer) -> None:
        while os.getppid() == self.ppid:
            await asyncio.sleep(ORPHAN_CHECK)
        server.should_exit = True


class Server(BaseApplication):
    """gunicorn with our settings and none of its files or flags."""

    def __init__(self, settings: Settings, make_app: Callable[[], Any]) -> None:
        """Take what makes the ASGI application in each process."""
        self._settings = settings
        self._make_app = make_app
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options."""
        settings = self._settings
        Worker.drain = settings.http_drain
        Worker.send_timeout = settings.http_send_timeout
        options: dict[str, Any] = {
            "bind": f"{_bracketed(settings.http_host)}:{settings.http_port}",
            "workers": settings.http_workers,
            "worker_class": Worker,
            "keepalive": KEEP_ALIVE,
            "timeout": HEARTBEAT_TIMEOUT,
            "graceful_timeout": settings.http_shutdown_timeout + math.ceil(settings.http_drain),
            "proc_name": "lead-ingest",
            "control_socket_disable": True,
            # Each process has an accept queue of its own, so that connections which come in one burst are shared.
            "reuse_port": True,
            "child_exit": _forget_metrics,
            "logger_class": Log,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application, in the process that will serve it."""
        made = self._make_app()
        # What is there by now stays for good: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        sys.setswitchinterval(GIL_SWITCH_INTERVAL)
        return made


def _forget_metrics(_: Arbiter, worker: UvicornWorker) -> None:
    multiprocess.mark_process_dead(worker.pid)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
