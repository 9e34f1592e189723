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

from ingest_api.server import listeners, protocol
from schema.settings import Settings

# Interval (seconds) of the check whether gunicorn's master is alive.
ORPHAN_CHECK = 0.2

# Keep-alive, seconds: longer than the idle timeout of common proxies, so that the proxy closes first.
KEEP_ALIVE = 75

# Time (seconds) without a heartbeat after which the master kills a worker.
HEARTBEAT_TIMEOUT = 30

# Listeners of each API process. libuv accepts one connection of each in a turn of the event loop (libuv #3696), so that
# with a single one a burst of hundreds waits for as many turns (docs/lab/2026-11-30-bursts-of-connections.md).
LISTENERS = 16

# Interval (seconds) of the check whether a draining process has open connections.
DRAIN_CHECK = 0.05

# Longest time (seconds) spent on emptying the accept queue at a stop: under load it may never be empty.
ACCEPT_QUEUE_TIMEOUT = 1.0

# Seconds by which uvicorn's stop timeout is shorter than gunicorn's.
STOP_MARGIN = 3

# Garbage collector's threshold, in new objects: a compromise between frequent collections and long pauses
# (docs/lab/2026-11-26-behind-the-constants.md).
GC_THRESHOLD = 10_000

# GIL switch interval, seconds. Reader threads ask for the GIL several times per list; with CPython's default that wait
# dominates list latency under write load (docs/lab/2026-11-26-behind-the-constants.md).
GIL_SWITCH_INTERVAL = 0.0005


class Log(Logger):
    """gunicorn's error log, passed on to the root logger."""

    def setup(self, cfg: Any) -> None:
        """Replace gunicorn's own handlers by propagation."""
        super().setup(cfg)
        self.error_log.handlers = []
        self.error_log.propagate = True


class DrainingServer(UvicornServer):
    """uvicorn's server with a graceful drain: it refuses new connections and goes on serving open ones.

    A proxy may be sending a request on a keep-alive connection that looks idle from here. That request is still
    answered, with `Connection: close`.
    """

    def __init__(self, config: Config, drain: float, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._drain = drain  # seconds
        self._stop_event = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain: serve open connections until they close, `drain` seconds at most; then stop as uvicorn does."""
        opened = list(zip(self.servers, sockets or [], strict=True))
        for _, each in opened:
            # The shortest backlog: while one connection waits in the accept queue, the kernel drops further SYNs, which
            # clients retry. A connection that arrives after the last check is reset; no lead was accepted on it.
            each.listen(0)
        given_up = time.monotonic() + ACCEPT_QUEUE_TIMEOUT
        while opened:
            waiting = []
            for server, each in opened:
                if listeners.has_pending_connections(each) and time.monotonic() < given_up:
                    waiting.append((server, each))
                else:
                    server.close()
                    each.close()
            opened = waiting
            await asyncio.sleep(0)  # lets the event loop accept
        self.server_state.default_headers.append((b"connection", b"close"))
        self._stop_event.set()
        await asyncio.sleep(DRAIN_CHECK)  # so that the connections accepted last are in server_state
        end = time.monotonic() + self._drain
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(DRAIN_CHECK)
        await super().shutdown()


class Worker(UvicornWorker):
    """An API process. When its master is killed it finishes open requests and exits, which frees the port."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": protocol.Protocol,
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        # Off: http/client_ip.py reads X-Forwarded-For; uvicorn would trust every loopback peer.
        "proxy_headers": False,
        "server_header": False,
    }

    # Seconds, and what tells the application that it stops; Server.load_config sets them before the fork.
    drain: ClassVar[float] = 0.0
    send_timeout: ClassVar[int] = 0
    stopping: ClassVar[asyncio.Event]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        logging.getLogger("uvicorn.error").propagate = True

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        timeout = int(self.cfg.graceful_timeout) - math.ceil(self.drain)
        self.config.timeout_graceful_shutdown = max(1, timeout - STOP_MARGIN)
        for each in self.sockets:
            listeners.set_send_timeout(each, self.send_timeout)
        server = DrainingServer(self.config, self.drain, self.stopping)
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

    def __init__(self, settings: Settings, make_app: Callable[[], Any], stopping: asyncio.Event) -> None:
        """Take the factory of the ASGI application, which is called in each process.

        `stopping` is set in a process that begins to stop, once it lets nobody else in.
        """
        self._settings = settings
        self._stop_event = stopping
        self._make_app = make_app
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options."""
        settings = self._settings
        Worker.drain = settings.http_drain
        Worker.send_timeout = settings.http_send_timeout
        Worker.stopping = self._stop_event
        options: dict[str, Any] = {
            "bind": [f"{_bracketed(settings.http_host)}:{settings.http_port}"] * LISTENERS,
            "workers": settings.http_workers,
            "worker_class": Worker,
            "keepalive": KEEP_ALIVE,
            "timeout": HEARTBEAT_TIMEOUT,
            "graceful_timeout": settings.http_shutdown_timeout + math.ceil(settings.http_drain),
            "proc_name": "lead-ingest",
            "control_socket_disable": True,
            # SO_REUSEPORT: accept queues for each process, so that the kernel spreads a burst of connections
            # (docs/lab/2026-11-26-shared-connections.md).
            "reuse_port": True,
            "child_exit": _forget_metrics,
            "logger_class": Log,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make the application, in the process that serves it."""
        made = self._make_app()
        # Frozen: these objects live as long as the process, so the collector need not scan them.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        sys.setswitchinterval(GIL_SWITCH_INTERVAL)
        return made


def _forget_metrics(_: Arbiter, worker: UvicornWorker) -> None:
    multiprocess.mark_process_dead(worker.pid)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
