"""The clients' behaviour: the locustfile. The Plan of a run is in the environment."""

import itertools
import os
import random
import time
from collections import deque
from pathlib import Path

import gevent
from gevent.lock import Semaphore
from locust import FastHttpUser, LoadTestShape, events, task
from locust.env import Environment

from loadtests.shapes.plan import PACE, Plan
from loadtests.shapes.verdict import judge, table

PLAN = Plan.from_json(os.environ["LOAD_TEST_PLAN"])
EMAIL = os.environ.get("LEADS_EMAIL", "test@example.com")
PASSWORD = os.environ.get("LEADS_PASSWORD", "password123")

# Age (seconds) at which a token is renewed, well before its default TTL of an hour.
TOKEN_AGE = 3000.0

# Number of tokens, shared by locust's users as those of a landing page share one.
CLIENTS = 10

# Most users started per second; locust warns above that.
SPAWNED = 100

# Interval (seconds) of the lines of progress.
PROGRESS = 5.0

# A telephone number for each run, so that its leads can be listed.
PHONE = f"+49{random.randrange(10**9, 10**10)}"

accepted: list[str] = []
recent: deque[str] = deque(maxlen=1000)
_tokens: dict[int, tuple[str, float]] = {}
_logging_in = [Semaphore() for _ in range(CLIENTS)]
_numbers = itertools.count(1)


class Client(FastHttpUser):
    """Sends leads, reads lists, and reads single leads."""

    network_timeout = connection_timeout = 10.0

    def on_start(self) -> None:
        """Choose a token, and start at a random time so that users started together do not send together."""
        self.client_number = next(_numbers) % CLIENTS
        gevent.sleep(random.uniform(0, 1 / PACE))
        self.due = time.monotonic()

    def wait_time(self) -> float:
        """Return the seconds to the user's next request on its own schedule.

        locust's constant_throughput counts from the user's creation, so users created together send together.
        """
        self.due += 1 / PACE
        return max(0.0, self.due - time.monotonic())

    @task(70)
    def send_lead(self) -> None:
        """POST a lead; after a 202 it must be in the list at the end."""
        number = next(_numbers)
        lead = {
            "firstName": random.choice(("Ada", "Grace", "Alan", "Edsger", "Barbara")),
            "lastName": f"Load {number}",
            "email": f"load{PHONE[1:]}.{number}@example.com",
            "phone": PHONE,
            "dateOfBirth": f"19{random.randrange(50, 99)}-0{random.randrange(1, 10)}-1{random.randrange(10)}",
            "additionalData": {"campaign": "load test"},
        }
        with self.client.post("/api/leads", json=lead, headers=self._headers(), catch_response=True) as answer:
            if answer.status_code == 202:
                lead_id = answer.json()["data"]["id"]
                accepted.append(lead_id)
                recent.append(lead_id)
            else:
                answer.failure(f"{answer.status_code}")

    @task(20)
    def list_leads(self) -> None:
        """GET the newest leads, page 2, or a page by last name."""
        query = random.choice(("limit=25", "limit=10&page=2", "limit=25&sortBy=lastName&sortOrder=ASC"))
        self._get(f"/api/leads?{query}", "/api/leads")

    @task(9)
    def look_at_a_lead(self) -> None:
        """GET a lead that was accepted recently."""
        if recent:
            self._get(f"/api/leads/{random.choice(recent)}", "/api/leads/{lead}")

    @task(1)
    def log_in(self) -> None:
        """Log in, as a client that has just started."""
        self._log_in()

    def _get(self, path: str, name: str) -> None:
        with self.client.get(path, headers=self._headers(), name=name, catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}")

    def _headers(self) -> dict[str, str]:
        # One log-in for all users of this token.
        with _logging_in[self.client_number]:
            token, made = _tokens.get(self.client_number, ("", 0.0))
            if time.monotonic() - made > TOKEN_AGE or not token:
                token = self._log_in()
        return {"Authorization": f"Bearer {token}"}

    def _log_in(self) -> str:
        answer = self.client.post("/api/login_check", json={"email": EMAIL, "password": PASSWORD})
        token = str(answer.json()["token"]) if answer.status_code == 200 else ""
        _tokens[self.client_number] = (token, time.monotonic())
        return token


class Stages(LoadTestShape):
    """The plan's stages, one after the other."""

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users for now and the most to start per second; None at the end."""
        stage = PLAN.stage_at(self.get_run_time())
        return None if stage is None else (stage.users, min(stage.users, SPAWNED))


@events.test_start.add_listener
def show_progress(environment: Environment, **_: object) -> None:
    """Print a line every few seconds."""
    gevent.spawn(_progress, environment)


def _progress(environment: Environment) -> None:
    begun = time.monotonic()
    while True:
        gevent.sleep(PROGRESS)
        after = time.monotonic() - begun
        stage = PLAN.stage_at(after)
        if stage is None:
            return
        total = environment.stats.total
        print(
            f"  {after:4.0f} s of {PLAN.seconds:.0f} s  {stage.name:<10} {total.current_rps:6.1f} requests/s  "
            f"p95 {total.get_current_response_time_percentile(0.95) or 0:.0f} ms  "
            f"{len(accepted)} leads accepted  {total.num_failures} errors",
            flush=True,
        )


@events.quitting.add_listener
def hold_against_thresholds(environment: Environment, **_: object) -> None:
    """Check every accepted lead and the thresholds, write the table, and set the exit status."""
    verdicts = judge(PLAN, environment, accepted, PHONE, (EMAIL, PASSWORD))
    Path(os.environ["LOAD_TEST_TABLE"]).write_text(table(PLAN, environment, verdicts))
    environment.process_exit_code = 0 if all(verdict.passed for verdict in verdicts) else 1
