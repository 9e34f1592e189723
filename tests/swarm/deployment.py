"""The service in a Swarm: a clone of its own, deployed by its Makefile alone."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from loadtests.chaos.clients import Clients
from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.swarm import Swarm

ROOT = Path(__file__).parents[2]
PROJECT = "lead-ingest-swarm"
PORT = 8080

# Images that the stack takes as they are. Redis and MySQL stay on the first host.
SERVERS = ("mysql:9.7", "redis:8.8-trixie")
PROXY = "nginx:1.30-trixie"

# Tasks of the services that may run on any host.
WANTED = {"api": 3, "worker": 2, "beat": 1, "flower": 1}

# Seconds for a command of the Makefile.
COMMAND_DEADLINE = 1200

# Seconds until the service is whole again after something was lost, and until all that was accepted is stored.
WHOLE_DEADLINE = 240.0
DRAIN_DEADLINE = 120.0

# Leads a second, from two clients that know all hosts.
RATE = 20.0


class Deployment:
    """One clone, and what it has deployed."""

    def __init__(
        self, directory: Path, swarm: Swarm, *, project: str = PROJECT, port: int = PORT, **settings: str
    ) -> None:
        self.directory = directory
        self.swarm = swarm
        self.project = project
        self.port = port
        self._settings = {
            "LEADS_PROJECT": project,
            "LEADS_PUBLIC_PORT": str(port),
            "LEADS_VERSION": "test",
            "LEADS_RATE_LIMIT": "0",
            "LEADS_HTTP_WORKERS": "1",
            # A shared disk may take seconds over one fsync, and 503 would be right.
            "LEADS_REDIS_TIMEOUT": "5",
            "LEADS_READY_TIMEOUT": "900",
            **settings,
        }
        self._token = ""
        self._images: set[str] = set()

    def clone(self) -> None:
        """Clone what is committed."""
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.directory)], check=True)

    def run(self, *command: str, ok: bool = True, given: str = "", **changes: str) -> str:
        """Run a command in the clone, with `given` as its input; return what it wrote."""
        # Not as a part of the `make test-swarm` that this may run in.
        inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
        done = subprocess.run(
            command,
            cwd=self.directory,
            env={**inherited, **self._settings, **changes},
            input=given,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE,
            check=False,
        )
        assert (done.returncode == 0) == ok, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout + done.stderr

    def build(self) -> str:
        """`make image` on the machine's own engine, which has what the image is built from; give it to all hosts."""
        said = self.run("make", "image", API=str(WANTED["api"]), WORKERS=str(WANTED["worker"]))
        self._images.add(self.value("LEADS_IMAGE"))
        for engine in self.swarm.engines:
            engine.copy(self.value("LEADS_IMAGE"))
        return said

    def remove(self) -> None:
        """Remove its services from the Swarm."""
        self.swarm.manager.docker("stack", "rm", self.project)

    def forget_images(self) -> None:
        """Remove the names that the builds have left in the machine's own engine."""
        subprocess.run(["docker", "rmi", *self._images], capture_output=True, check=False)

    def change(self, file: str, text: str) -> None:
        """Add text to a file of the clone, as a new release would change one."""
        with (self.directory / file).open("a") as opened:
            opened.write(text)

    def deploy(self, *arguments: str, ok: bool = True) -> str:
        """`make stack` on a manager."""
        return self.run("make", "stack", *arguments, ok=ok, DOCKER_HOST=self.swarm.manager.socket)

    def command(self, *command: str, given: str = "") -> str:
        """Run a command of compose/production/swarm on a manager."""
        return self.run("compose/production/swarm", *command, given=given, DOCKER_HOST=self.swarm.manager.socket)

    def scale(self, **numbers: int) -> None:
        """Run so many tasks of services, as an operator may."""
        wanted = (f"{self.project}_{service}={number}" for service, number in numbers.items())
        self.swarm.manager.docker("service", "scale", *wanted)

    def value(self, name: str) -> str:
        """Return a value of the file that `make image` wrote."""
        lines = (self.directory / "compose" / "production.env").read_text().splitlines()
        return next(line.partition("=")[2] for line in lines if line.startswith(name + "="))

    @property
    def urls(self) -> list[str]:
        """Where the hosts answer."""
        return [f"http://{each.address}:{self.port}" for each in self.swarm.engines]

    def token(self) -> str:
        """Log in as the first user, once."""
        self._token = self._token or self.log_in()
        return self._token

    def log_in(self) -> str:
        """Log in as the first user; return the token."""
        credentials = {"email": self.value("LEADS_FIRST_USER"), "password": self.value("LEADS_FIRST_PASSWORD")}
        answer = httpx.post(f"{self.urls[0]}/api/login_check", json=credentials, timeout=30)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET from the first host."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        return httpx.get(f"{self.urls[0]}{path}", headers=headers, timeout=30, **options)

    def accept(self, url: str) -> str:
        """Send a lead to a host, which must accept it; return its id."""
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = httpx.post(f"{url}/api/leads", json=a_lead(), headers=headers, timeout=30)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["data"]["id"])

    def takes_leads(self, url: str) -> bool:
        """Tell whether a host accepts a lead now."""
        try:
            self.accept(url)
        except (AssertionError, httpx.HTTPError):
            return False
        return True

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """Return what the manager knows of a service's tasks that shall run."""
        name = f"{self.project}_{service}"
        quiet = ("--quiet", "--no-trunc", "--filter", "desired-state=running")
        return self.swarm.manager.inspect(*self.swarm.manager.docker("service", "ps", *quiet, name).split())

    def hosts_of(self, service: str) -> list[str]:
        """Return the names of the hosts on which a service's healthy tasks are."""
        names = {each["ID"]: each["Description"]["Hostname"] for each in self._nodes()}
        return sorted(names[each["NodeID"]] for each in self.tasks(service) if each["Status"]["State"] == "running")

    def _nodes(self) -> list[dict[str, Any]]:
        manager = self.swarm.manager
        return manager.inspect(*manager.docker("node", "ls", "--quiet").split())

    def is_balanced(self) -> bool:
        """Tell whether the service's own ledger is: what was accepted is stored or waits."""
        return "Balanced:" in self.command("run", "workers", "ledger")

    def rows(self, statement: str) -> set[str]:
        """Return the first column of what a statement finds in the database."""
        return set(self.command("sql", "--skip-column-names", "--execute", statement).split())

    def assert_each_is_one_row(self, clients: Clients) -> None:
        """Wait until each lead that had a 202 is a row; no lead may have two."""
        promised = {each.lead for each in clients.promises()}
        assert promised
        until(lambda: promised <= self.rows("SELECT BIN_TO_UUID(id) FROM leads"), DRAIN_DEADLINE, 2)
        assert not self.rows("SELECT email FROM leads GROUP BY email HAVING COUNT(*) > 1")
        until(self.is_balanced, DRAIN_DEADLINE, 2)

    def is_whole(self, hosts: Sequence[str]) -> bool:
        """Tell whether all that shall run is healthy on these hosts."""
        try:
            found = {service: self.hosts_of(service) for service in WANTED}
        except AssertionError:  # a task that was listed is gone, or the managers elect a leader
            return False
        return all(len(found[each]) == number and set(found[each]) <= set(hosts) for each, number in WANTED.items())

    def has_proxies(self, number: int) -> bool:
        """Tell whether nginx is healthy on so many hosts."""
        try:
            return len(self.hosts_of("nginx")) == number
        except AssertionError:  # as above
            return False

    @contextmanager
    def load(self, directory: Path) -> Iterator[Clients]:
        """Send leads to all hosts while the block runs, and for a few seconds around it."""
        directory.mkdir()
        clients = Clients(self.urls, [self.token()], directory, number=2, rate=RATE, keys=True)
        clients.start()
        time.sleep(3)
        try:
            yield clients
            time.sleep(3)
        finally:
            clients.stop()
