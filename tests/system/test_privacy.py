"""Flower and the logs: what the operator sees, and that no lead is in it."""

import base64
import json
import re

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import EMAIL, PASSWORD, Service

LEAD = a_lead(
    firstName="Wilhelmina",
    lastName="Featherstonehaugh",
    email="private.person@example.com",
    phone="+4999123456789",
    dateOfBirth="1971-03-17",
    additionalData={"secret": "Zanzibar"},
)

PRIVATE = ("Wilhelmina", "Featherstonehaugh", "private.person", "999123456789", "1971-03-17", "Zanzibar")

PAGES = ("/", "/workers", "/tasks", "/broker", "/api/tasks", "/api/workers", "/api/task/types", "/api/queues/length")


def flower(service: Service, path: str, **options: object) -> httpx.Response:
    return httpx.get(service.flower_url + path, timeout=20, follow_redirects=True, **options)


@pytest.fixture(scope="module")
def stored(service: Service) -> str:
    """A private lead that went all the way, by every door."""
    (made,) = service.accept(LEAD)
    single = service.post("/api/leads", LEAD, Idempotency_Key="Zanzibar").json()["data"]["id"]
    service.wait_until_stored(made, single)
    service.post("/api/leads", {**LEAD, "phone": "999123456789x", "Zanzibar": "Wilhelmina"})
    service.post("/api/leads", json.dumps(LEAD).encode()[:-1])
    service.post("/api/leads/bulk", [{**LEAD, "phone": "x"}, LEAD])
    service.get("/api/leads", params={"email": LEAD["email"], "phone": LEAD["phone"], "Zanzibar": "1"})
    service.get("/api/leads/Zanzibar")
    service.get("/api/Zanzibar")
    service.post("/api/login_check", {"email": LEAD["email"], "password": "Zanzibar-1"}, token=None)
    service.get("/api/leads", token="Zanzibar.a.b", headers={"X-Forwarded-For": "Zanzibar"})
    return made


@pytest.mark.parametrize("path", PAGES)
def test_flower_asks_for_a_password(service: Service, path: str):
    for auth in (None, (EMAIL, "wrong"), ("nobody@example.com", PASSWORD), ("", "")):
        answer = flower(service, path, auth=auth)

        assert answer.status_code == 401


def test_flower_shows_the_tasks_and_how_many_leads_each_stored(service: Service, stored: str):
    def shown() -> list[dict]:
        tasks = flower(service, "/api/tasks", auth=(EMAIL, PASSWORD)).json().values()
        return [
            task
            for task in tasks
            if task["name"] == "store_leads" and re.search(r"'stored': [1-9]", str(task["result"]))
        ]

    task = until(shown)[0]

    assert task["state"] == "SUCCESS"
    assert (task["args"], task["kwargs"]) == ("()", "{}")


def test_flower_shows_nothing_of_a_lead(service: Service, stored: str):
    for path in PAGES:
        answer = flower(service, path, auth=(EMAIL, PASSWORD))

        assert answer.status_code == 200, path
        for piece in (*PRIVATE, stored):
            assert piece not in answer.text


def test_no_log_holds_anything_of_a_lead_or_a_way_in(service: Service, stored: str):
    logs = {path.name: path.read_text(errors="replace") for path in (service.data / "logs").iterdir()}
    token = service.token()
    private_key = (service.data / "keys" / "jwt-private.pem").read_text().splitlines()[1]
    basic = base64.b64encode(f"{EMAIL}:{PASSWORD}".encode()).decode()

    assert {"api.log", "worker.log", "beat.log", "flower.log"} <= logs.keys()
    assert logs["api.log"]
    for name, text in logs.items():
        for piece in (*PRIVATE, PASSWORD, token, token.split(".")[2], private_key, basic, "secret@"):
            assert piece not in text, f"{piece} is in {name}"


def test_no_metric_holds_anything_of_a_lead_or_a_way_in(service: Service, stored: str):
    pages = [service.get("/metrics", token=None).text]
    pages.append(httpx.get(f"http://127.0.0.1:{service.settings['worker_metrics_port']}/metrics", timeout=20).text)

    for text in pages:
        assert "leads_" in text
        for piece in (*PRIVATE, stored, EMAIL, PASSWORD, service.token().split(".")[2], "127.0.0.1"):
            assert piece not in text


def test_each_request_has_a_line_in_the_log_with_its_id(service: Service):
    request_id = service.get("/api/leads", headers={"X-Request-Id": "traced-request"}).headers["X-Request-Id"]

    def lines() -> list[str]:
        text = (service.data / "logs" / "api.log").read_text()
        return [line for line in text.splitlines() if request_id in line]

    line = json.loads(until(lines)[-1])
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/leads", 200)


def test_passwords_are_in_no_command_line(service: Service):
    for process in service.family():
        assert PASSWORD not in " ".join(process.cmdline())
