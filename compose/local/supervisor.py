"""Supervises the service's processes: starts them, restarts those that die (circus), and stops them in order.

All processes end with this one, however it ends.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.watcher import Watcher
from tornado.ioloop import IOLoop

from compose.local import processes
from compose.local.processes import Process
from schema.queue.tickets import celery_app
from schema.settings import Settings

# Interval (seconds) of the check for dead processes.
CHECK_DELAY = 0.2

# Delay (seconds) before a stop is retried that circus refused because of another command in progress.
CONFLICT_DELAY = 0.05

# Longest time (seconds) for the service to become ready, and for a process to stop before it is killed.
READY_TIMEOUT = 60
STOP_TIMEOUT = 3.5

# Longest wait (seconds) for a worker's answer to one ping; a later answer is lost.
PING_TIMEOUT = 1.0

# Size (bytes) above which a log file's content is moved to `<name>.log.1`, and the interval of that check.
LOG_MAX = 64 * 1024 * 1024
LOG_CHECK = 10  # seconds


class Supervisor:
    """One run of the service."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logs = settings.data_dir / "logs"
        self._stop = asyncio.Event()
        self._queue = [processes.queue(settings)] if settings.embedded_redis else []
        self._service = processes.service(settings)

    async def run(self, greeting: str, *, with_parent: bool) -> int:
        """Run until a signal or, with `with_parent`, until the parent ends; return the exit status.

        Prints the greeting when the service is ready.
        """
        watchers = [self._watcher(each) for each in (*self._queue, *self._service)]
        arbiter = Arbiter(
            watchers,
            endpoint="inproc://control",
            pubsub_endpoint="inproc://events",
            check_delay=CHECK_DELAY,
            loop=IOLoop.current(),
        )
        # On a slow machine circus's periodic check may collide with a start in progress; that is harmless.
        logging.getLogger("tornado.application").addFilter(_is_no_conflict)
        loop = asyncio.get_running_loop()
        background = [asyncio.create_task(self._bound_logs())]
        if with_parent:
            background.append(asyncio.create_task(self._stop_with_parent()))
        status = 0
        try:
            # Replace circus's handlers, which would stop the queue together with its users.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self._stop.set)
            await arbiter.start()
            if await self._until_ready():
                print(greeting, flush=True)
                await self._stop.wait()
            elif not self._stop.is_set():
                print(f"Not ready after {READY_TIMEOUT} s: see {self._logs}", file=sys.stderr, flush=True)
                status = 1
        finally:
            print("Stopping …", flush=True)
            for task in background:
                task.cancel()
            await self._stop_all(arbiter, watchers)
        print("Stopped. Nothing that was accepted is lost.", flush=True)
        return status

    def _watcher(self, process: Process) -> Watcher:
        return Watcher(
            process.name,
            "/bin/sh",
            args=process.arguments(self._logs / f"{process.name}.log")[1:],
            env=processes.environment(process, self._settings),
            graceful_timeout=STOP_TIMEOUT,
            max_retry=-1,
        )

    async def _stop_all(self, arbiter: Arbiter, watchers: list[Watcher]) -> None:
        """Stop the service, then the queue, which open requests still need."""
        queue = {each.name for each in self._queue}
        for group in (
            [each for each in watchers if each.name not in queue],
            [each for each in watchers if each.name in queue],
        ):
            leaders = [pid for each in group for pid in each.get_active_pids()]
            await _stop(arbiter, group)
            for leader in leaders:
                _kill_group(leader)
        arbiter.stop_controller_and_close_sockets()

    async def _until_ready(self) -> bool:
        """Wait until every part answers; False after READY_TIMEOUT or when a stop is requested."""
        deadline = asyncio.get_running_loop().time() + READY_TIMEOUT
        app = celery_app(self._settings)
        settings = self._settings
        api = f"http://{_reachable(settings.http_host)}:{settings.http_port}/health/ready"
        flower = f"http://{_reachable(settings.flower_host)}:{settings.flower_port}/healthcheck"
        questions: tuple[Callable[[], bool], ...] = (
            lambda: _answers(api),
            lambda: bool(app.control.ping(timeout=PING_TIMEOUT, limit=1)),
            lambda: _answers(flower),
        )
        for question in questions:
            while not await asyncio.to_thread(_quietly, question):
                if self._stop.is_set() or asyncio.get_running_loop().time() > deadline:
                    return False
                await asyncio.sleep(0.1)
        return True

    async def _stop_with_parent(self) -> None:
        parent = os.getppid()
        while os.getppid() == parent:
            await asyncio.sleep(CHECK_DELAY)
        self._stop.set()

    async def _bound_logs(self) -> None:
        while True:
            for log in self._logs.glob("*.log"):
                if log.stat().st_size > LOG_MAX:
                    await asyncio.to_thread(_rotate, log)
            await asyncio.sleep(LOG_CHECK)


async def _stop(arbiter: Arbiter, watchers: list[Watcher]) -> None:
    """Stop watchers; retry while circus executes another command."""
    while True:
        try:
            await arbiter.stop_watchers(watcher_iter_func=lambda **_: watchers)
        except ConflictError:
            await asyncio.sleep(CONFLICT_DELAY)
        else:
            return


def _is_no_conflict(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], ConflictError))


def _rotate(log: Path) -> None:
    """Copy a log aside and truncate it; its writers append, so they need not reopen it."""
    log.with_suffix(".log.1").write_bytes(log.read_bytes())
    os.truncate(log, 0)


def _kill_group(leader: int) -> None:
    """Kill what is left of a process's group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _reachable(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _answers(url: str) -> bool:
    with urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)


def _quietly(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except Exception:  # any error means: not ready
        return False
