"""The stack of a clone of its own, driven by its Makefile alone."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.kit import load
from tests.kit.leads import a_lead
from tests.kit.ports import free_port
from tests.kit.servers import until
from tests.kit.service import READY_MAX_AGE

ROOT = Path(__file__).parents[2]
PROJECT = "lead-ingest-test"

SERVICES = ("mysql", "redis", "api", "worker", "beat", "flower", "nginx")

# Seconds for a command of the Makefile: the first one builds the image and makes MySQL's tables.
COMMAND_DEADLINE = 600

# Seconds until all that was accepted is stored, after something was killed.
DRAIN_DEADLINE = 90.0

# Leads sent at once between two looks at whether the disturbance is over.
ROUND = 200


class Stack:
    """One clone with its stack, on free ports and a subnet of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.flower_port = free_port()
        self.settings = {
            "LEADS_PROJECT": PROJECT,
            "LEADS_SUBNET": "172.31.98.0/24",
            "LEADS_PUBLIC_PORT": str(self.port),
            "LEADS_PUBLIC_FLOWER_PORT": str(self.flower_port),
            "LEADS_PUBLIC_GRAFANA_PORT": str(free_port()),
            "LEADS_VERSION": "test",
            "LEADS_RATE_LIMIT": "0",
            # A shared disk may take seconds over one fsync, and 503 would be right.
            "LEADS_REDIS_TIMEOUT": "5",
        }
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.built = ""  # what `make build` wrote
        self._token = ""
        self._processes: set[tuple[str, str]] = set()

    def clone(self) -> None:
        """Clone what is committed."""
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.directory)], check=True)

    def check_out(self, commit: str) -> None:
        """Take another commit's code, as `git pull` would."""
        git = ["git", "-C", str(self.directory)]
        subprocess.run([*git, "fetch", "--quiet", str(ROOT), commit], check=True)
        subprocess.run([*git, "checkout", "--quiet", "--force", "FETCH_HEAD"], check=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this stack's commands."""
        # Not as a part of the `make test-compose` that this may run in: it would say which directory it is in.
        inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
        return {**inherited, **self.settings}

    def make(self, *arguments: str, ok: bool = True, **changes: str) -> str:
        """Run a command of the Makefile; return what it wrote."""
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.directory,
            env={**self.environment, **changes},
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout + done.stderr

    def run(self, *command: str, said: str = "") -> str:
        """Run a command for operators, with `said` as its input; return what it wrote."""
        done = subprocess.run(
            ["compose/production/stack", "run", *command],
            cwd=self.directory,
            env=self.environment,
            input=said,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def secret(self, name: str) -> str:
        """Return a value of the file that `make build` wrote."""
        lines = (self.directory / "compose" / "production.env").read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith(name + "="))

    def containers(self, service: str | None = None) -> list[dict[str, Any]]:
        """Return what Docker knows of the containers, the stopped ones too."""
        labels = ["--filter", f"label=com.docker.compose.project={PROJECT}"]
        if service:
            labels += ["--filter", f"label=com.docker.compose.service={service}"]
        names = docker("ps", "--all", "--quiet", *labels).split()
        found: list[dict[str, Any]] = json.loads(docker("inspect", *names)) if names else []
        return found

    def healthy(self, service: str) -> bool:
        """Tell whether all containers of a service run and are healthy."""
        states = [each["State"] for each in self.containers(service)]
        return bool(states) and all(
            state["Status"] == "running" and state.get("Health", {}).get("Status") == "healthy" for state in states
        )

    def token(self) -> str:
        """Log in as the first user, once."""
        self._token = self._token or self.log_in()
        return self._token

    def use_token(self, token: str) -> None:
        """Use another token from now on."""
        self._token = token

    def log_in(self) -> str:
        """Log in as the first user; return the token."""
        credentials = {"email": self.secret("LEADS_FIRST_USER"), "password": self.secret("LEADS_FIRST_PASSWORD")}
        answer = self.client.post("/api/login_check", json=credentials)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def key(self, step: str) -> None:
        """Take a step of changing the keys."""
        self._processes = self.api_processes()
        self.make("key", f"STEP={step}")

    def api_processes(self) -> set[tuple[str, str]]:
        """Return container and pid of each API process."""
        return {
            (each["Id"], line.split()[1])
            for each in self.containers("api")
            for line in docker("top", each["Id"], "-eo", "ppid,pid,args").splitlines()
            if "ingest_api" in line
        }

    def wait_until_reloaded(self) -> None:
        """Wait until all API processes but the masters have been replaced since the last step."""
        masters = 2 * len(self.containers("api"))  # tini is one of them
        until(lambda: len(self._processes & self.api_processes()) <= masters, 60, 0.5)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET as the first user."""
        headers = {"Authorization": f"Bearer {self.token()}", **options.pop("headers", {})}
        return self.client.get(path, headers=headers, **options)

    def accept(self) -> str:
        """Send a lead, which must be accepted; return its id."""
        answer = self.client.post("/api/leads", json=a_lead(), headers={"Authorization": f"Bearer {self.token()}"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["data"]["id"])

    def ledger(self) -> dict[str, int] | None:
        """Return the ledger, as it is now or later, or None while a part is away."""
        time.sleep(READY_MAX_AGE)
        # From an API container: nginx shows it to nobody.
        networks = [each["NetworkSettings"]["Networks"] for each in self.containers("api")]
        addresses = [network["IPAddress"] for each in networks for network in each.values() if network["IPAddress"]]
        try:
            answer = httpx.get(f"http://{addresses[0]}:8080/health/ready", timeout=30)
        except (httpx.HTTPError, IndexError):
            return None
        return dict(answer.json()["data"]["ledger"]) if answer.status_code == 200 else None

    def wait_until_drained(self) -> dict[str, int]:
        """Wait until nothing waits and the numbers hold still; return the ledger."""
        before: dict[str, int] | None = None

        def drained() -> dict[str, int] | None:
            # Redis is read a moment after the database, which may lack the last batch then.
            nonlocal before
            before, ledger = self.ledger(), before
            return ledger if ledger and ledger == before and not ledger["waiting"] else None

        return dict(until(drained, DRAIN_DEADLINE, 0.2) or {})

    def stored(self) -> list[str]:
        """Return the ids of all stored leads, by the list's cursors."""
        ids: list[str] = []
        cursor = None
        while True:
            data = self.get("/api/leads", params={"limit": 100, **({"cursor": cursor} if cursor else {})}).json()[
                "data"
            ]
            ids += [item["id"] for item in data["items"]]
            cursor = data["pagination"]["next_cursor"]
            if cursor is None:
                return ids


def sent_during(stack: Stack, disturb: Callable[[], object]) -> load.Ledger:
    """Send leads without a pause from before `disturb` until after it; return what the clients saw."""
    total = load.Ledger(0, 0)
    problems: list[BaseException] = []

    def run() -> None:
        try:
            disturb()
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    rounds_after = 2
    while rounds_after:
        seen = load.send(stack, ROUND, connections=16, deadline=180)
        total.ids += seen.ids
        total.refused += seen.refused
        total.broken += seen.broken
        total.strange += seen.strange
        if thread.ident is None:
            thread.start()
        elif not thread.is_alive():
            rounds_after -= 1
    assert not problems, problems
    return total


def assert_nothing_lost(stack: Stack, seen: load.Ledger) -> None:
    ledger = stack.wait_until_drained()
    stored = stack.stored()
    assert set(seen.ids) <= set(stored)
    assert len(stored) == len(set(stored)) == ledger["stored"]
    assert (ledger["imbalance"], ledger["dead"]) == (0, 0)


def running(stack: Stack) -> dict[str, set[str]]:
    """Return the ids of each service's running containers."""
    return {
        service: {each["Id"] for each in stack.containers(service) if each["State"]["Running"]} for service in SERVICES
    }


def succeeds(container: str, *command: str) -> bool:
    """Run a command in a container; tell whether it ended with 0."""
    return subprocess.run(["docker", "exec", container, *command], capture_output=True, timeout=60).returncode == 0


def docker(*arguments: str) -> str:
    """Run the docker command; return its output."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True, timeout=120).stdout


def files_with(container: str, directory: str, text: str) -> list[str]:
    """Return the files in a container's directory that hold a text."""
    search = 'grep --recursive --files-with-matches --text --fixed-strings -e "$0" "$1" || test $? = 1'
    return docker("exec", container, "sh", "-c", search, text, directory).splitlines()


def logs_of(container: str) -> str:
    """Return all that a container wrote."""
    found = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return found.stdout + found.stderr


def logs_since(container: str, since: float) -> list[dict[str, Any]]:
    """Return the JSON lines that a container wrote since a moment (seconds since 1970)."""
    found = subprocess.run(
        ["docker", "logs", "--since", str(int(since)), container], capture_output=True, text=True, check=True
    )
    lines = (found.stdout + found.stderr).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def failures_since(stack: Stack, since: float) -> list[dict[str, Any]]:
    """Return nginx's log lines of the requests that failed since a moment: whose fault it was, an API's or its own."""
    (nginx,) = stack.containers("nginx")
    return [line for line in logs_since(nginx["Id"], since) if line["status"] >= 500]


def now() -> float:
    """Return the time (seconds since 1970)."""
    return time.time()
