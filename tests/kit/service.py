"""The whole service, started as by `make run`, and a client for it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.kit.ports import free_port
from tests.kit.servers import until

ROOT = Path(__file__).parents[2]

EMAIL, PASSWORD = "test@example.com", "password123"

# Seconds. START_DEADLINE is also the service's own timeout.
START_DEADLINE = 60.0
STOP_DEADLINE = 15.0

# Age, seconds, that the answer of /health/ready may have: all who ask meanwhile share it.
READY_MAX_AGE = 1.0

# The lines of /metrics with the requests to the API.
API_REQUESTS = re.compile(r'^leads_http_requests_total\{[^}]*route="/api/[^}]*\} (\S+)$', re.MULTILINE)

# Parts of the command lines that identify the service's processes.
COMMAND_LINES = {
    "api": "ingest_api serve",
    "worker": "workers.app --quiet worker",
    "beat": "workers.app --quiet beat",
    "flower": "workers.app --quiet flower",
    "queue": "valkey-server",
}


class Service:
    """A service with a data dir and ports of its own, which can be started and stopped repeatedly."""

    def __init__(self, directory: Path, **settings: object) -> None:
        """Take settings by name in lower case, without the prefix: `rate_limit=0`."""
        self.root = ROOT  # where the code is
        self.directory = directory
        self.data = directory / "data"
        self.settings: dict[str, object] = {
            "data_dir": self.data,
            "http_port": free_port(),
            "flower_port": free_port(),
            "worker_metrics_port": free_port(),
            "rate_limit": 0,
            # Tests of wrong passwords all come from one address.
            "login_failures": 1_000_000,
            # Longer than the default: on a shared disk one fsync may take seconds, and 503 would be the right answer.
            "redis_timeout": 10,
            "rate_limit_timeout": 10,
            **settings,
        }
        self.base_url = f"http://127.0.0.1:{self.settings['http_port']}"
        self.flower_url = f"http://127.0.0.1:{self.settings['flower_port']}"
        self.client = httpx.Client(base_url=self.base_url, timeout=20)
        self.process: subprocess.Popen[bytes] | None = None
        self._tokens: dict[tuple[str, str], str] = {}
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.end()

    @property
    def port(self) -> int:
        """The API's port."""
        return int(str(self.settings["http_port"]))

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this service's commands."""
        return {**os.environ, **{f"LEADS_{name.upper()}": str(value) for name, value in self.settings.items()}}

    @property
    def output(self) -> str:
        """The standard output of the last run."""
        return (self.directory / "stdout").read_text()

    @property
    def errors(self) -> str:
        """The standard error of the last run."""
        return (self.directory / "stderr").read_text()

    def command(self) -> list[str]:
        """Return the command line that starts it."""
        # --stop-with-parent, so that nothing is left behind when the test run is killed.
        return [sys.executable, "-m", "compose.local", "--stop-with-parent"]

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the service without waiting for it."""
        with (self.directory / "stdout").open("wb") as out, (self.directory / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self.process

    def start(self) -> Self:
        """Start the service and wait for its banner."""
        process = self.launch()
        # Longer than the service itself waits, and stops then: it says why.
        until(lambda: "is ready" in self.output or process.poll() is not None, START_DEADLINE + 2 * STOP_DEADLINE, 0.02)
        assert process.poll() is None, f"ended with {process.returncode}: {self.errors}{self.last_lines()}"
        return self

    def last_lines(self) -> str:
        """Return the last lines of each process's log."""
        logs = sorted((self.data / "logs").glob("*.log"))
        return "".join(f"\n== {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit status. Raises TimeoutExpired after STOP_DEADLINE."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(STOP_DEADLINE)

    def end(self) -> None:
        """Kill the service with all its processes, whatever its state."""
        if self.process is None:
            return
        family = self.family()
        self.process.kill()
        self.process.wait()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        until(lambda: not any(_lives(each) for each in family), STOP_DEADLINE)

    def family(self) -> list[psutil.Process]:
        """Return all descendants of the process that was started."""
        assert self.process is not None
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def left_behind(self, family: list[psutil.Process]) -> list[psutil.Process]:
        """Return the processes of `family` that still run, and all others with our data dir in their environment."""
        ours = [each for each in family if _lives(each)]
        for each in psutil.process_iter():
            try:
                if each.environ().get("LEADS_DATA_DIR") == str(self.data):
                    ours.append(each)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return ours

    def find(self, name: str) -> psutil.Process | None:
        """Return the supervised process called `name` (see COMMAND_LINES), or None."""
        assert self.process is not None
        for each in psutil.Process(self.process.pid).children():
            try:
                if COMMAND_LINES[name] in " ".join(each.cmdline()) and each.status() != psutil.STATUS_ZOMBIE:
                    return each
            except psutil.NoSuchProcess:
                continue
        return None

    def one(self, name: str) -> psutil.Process:
        """Return the supervised process called `name`, which must run; one that starts has no name at first."""
        return until(lambda: self.find(name), 10)

    @contextmanager
    def suspended(self, name: str) -> Iterator[None]:
        """Pause the process called `name` and its children (SIGSTOP) within the block: connections stay open."""
        main = self.one(name)
        with paused([main, *main.children(recursive=True)]):
            yield

    def token(self, email: str = EMAIL, password: str = PASSWORD) -> str:
        """Return the user's token; logs in at the first call."""
        if (email, password) not in self._tokens:
            answer = self.post("/api/login_check", {"email": email, "password": password}, token=None)
            assert answer.status_code == 200, answer.text
            self._tokens[email, password] = answer.json()["token"]
        return self._tokens[email, password]

    def run(self, *command: str, given: str = "", timeout: float | None = 30) -> subprocess.CompletedProcess[str]:
        """Run `python -m COMMAND` with this service's settings, with `given` on standard input."""
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.root,
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def user(self, *arguments: str, password: str = "") -> subprocess.CompletedProcess[str]:
        """Run `python -m ingest_api user`, with the password on standard input."""
        return self.run("ingest_api", "user", *arguments, given=password + "\n")

    def balance(self) -> str:
        """Return the last line of `python -m workers ledger`: "Balanced…", or what is wrong."""
        done = self.run("workers", "ledger", timeout=None)
        last = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        return f"exit status {done.returncode}: {last}" if done.returncode else last

    def headers(self, token: str | None = "") -> dict[str, str]:
        """Return the Authorization header: for "" with the test user's token, for None no header."""
        return {} if token is None else {"Authorization": f"Bearer {token or self.token()}"}

    def get(self, path: str, token: str | None = "", **options: Any) -> httpx.Response:
        """GET, by default as the test user; `options` are httpx's."""
        headers = {**self.headers(token), **options.pop("headers", {})}
        return self.client.get(path, headers=headers, **options)

    def post(self, path: str, body: object, token: str | None = "", **headers: str) -> httpx.Response:
        """POST a body, bytes unchanged and anything else as JSON, by default as the test user.

        Headers are given as `Idempotency_Key="..."`.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        all_headers = {"Content-Type": "application/json", **self.headers(token), **named}
        if isinstance(body, bytes):
            return self.client.post(path, content=body, headers=all_headers)
        return self.client.post(path, json=body, headers=all_headers)

    def statuses(self, method: str, path: str, token: str = "", body: object = None, number: int = 20) -> set[int]:
        """Return the statuses of requests on connections of their own, so that every process is asked."""
        headers = self.headers(token)
        answers = (
            httpx.request(method, f"{self.base_url}{path}", headers=headers, json=body, timeout=20)
            for _ in range(number)
        )
        return {each.status_code for each in answers}

    def accept(self, *leads: dict[str, Any]) -> list[str]:
        """Send leads in bulk, all of which must be accepted; return their ids in order."""
        ids: list[str] = []
        for start in range(0, len(leads), 1000):
            answer = self.post("/api/leads/bulk", list(leads[start : start + 1000]))
            assert answer.status_code == 202, answer.text
            ids.extend(result["id"] for result in answer.json()["data"]["results"])
        return ids

    def wait_until_stored(self, *ids: str, within: float = 30.0) -> None:
        """Wait until each of these leads is stored."""
        deadline = time.monotonic() + within
        for each in reversed(ids):
            until(lambda each=each: self.lead(each)["state"] == "stored", max(deadline - time.monotonic(), 0.1), 0.03)

    def wait_for_sweeps(self, number: int) -> None:
        """Wait until beat has sent so many sweeps, counted from now, and workers have fetched them all.

        Flower does not list a sweep that finds nothing to do. All but the last one are over.
        """
        sent = self.data / "beat.alive"  # touched at each
        for _ in range(number):
            before = sent.stat().st_mtime if sent.exists() else 0.0
            until(lambda before=before: sent.exists() and sent.stat().st_mtime > before, 30, 0.05)
        until(lambda: "leads_sweeps_waiting 0.0" in self.get("/metrics").text, 30, 0.1)

    def answered(self) -> float:
        """Return how many requests to the API were answered since its start."""
        text = self.get("/metrics", token=None).text
        return sum(float(each) for each in API_REQUESTS.findall(text))

    def ledger(self) -> dict[str, int]:
        """Return the ledger from the health check, as it is now or later."""
        return dict(self.ready().json()["data"]["ledger"])

    def ready(self) -> httpx.Response:
        """Return the answer of a health check that began after this call."""
        time.sleep(READY_MAX_AGE)
        return self.get("/health/ready")

    def wait_until_nothing_waits(self, within: float = 30.0) -> None:
        """Wait until every accepted lead is a row or a dead letter."""
        if self.ledger()["waiting"]:
            until(lambda: self.get("/health/ready").json()["data"]["ledger"]["waiting"] == 0, within, 0.03)

    def lead(self, lead_id: str) -> dict[str, Any]:
        """Return a lead, which must exist."""
        answer = self.get(f"/api/leads/{lead_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    def page(self, **parameters: object) -> dict[str, Any]:
        """Return the `data` of a list."""
        answer = self.get("/api/leads", params=parameters)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    def walk(self, **parameters: object) -> list[dict[str, Any]]:
        """Return all leads of a list, by following its cursors."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            place = {"cursor": cursor} if cursor else {}
            data = self.page(limit=100, **parameters, **place)
            items += data["items"]
            cursor = data["pagination"]["next_cursor"]
            if cursor is None:
                return items


@contextmanager
def paused(processes: list[psutil.Process]) -> Iterator[None]:
    """Pause the processes (SIGSTOP) within the block."""
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        # Children first, so that no parent sees a stopped child.
        for each in reversed(processes):
            with suppress(psutil.NoSuchProcess):
                each.resume()


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process runs. A zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
