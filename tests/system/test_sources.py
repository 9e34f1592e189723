"""Sources: API keys, a rate and a daily cap, and leads that know who sent them, over the started service."""

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.servers import until
from tests.kit.service import Service

from .sources import CHANGE_DEADLINE, Source, command


def test_a_source_sends_leads_that_say_who_sent_them(service: Service):
    # Given a source, and a lead of it
    source = Source(service)
    answer = source.post()

    # Then the 202 says so, and the lead does, queued and stored
    assert answer.status_code == 202, answer.text
    lead = answer.json()["data"]
    assert lead["source"] == source.name
    assert service.lead(lead["id"])["source"] == source.name
    service.wait_until_stored(lead["id"])
    assert service.lead(lead["id"]) == lead | {"state": "stored"}


def test_a_lead_of_a_user_has_no_source(service: Service):
    [made] = service.accept(a_lead())
    service.wait_until_stored(made)

    assert "source" not in service.lead(made)
    assert_error(service.post("/api/leads", a_lead() | {"source": "acme"}), 400, "Validation failed")


def test_a_key_opens_what_its_roles_say_and_nothing_else(service: Service):
    # Given a source that may only send
    source = Source(service)

    # Then it reads nothing, and nothing that is for users opens
    for path in ("/api/leads", "/api/leads/stats", "/api/leads/export", f"/api/leads/{source.accept()[0]}"):
        assert_error(source.get(path), 403, "This API key may not do that.")
    assert_error(source.get("/api/dead-letters"), 403, "Invalid JWT Token")
    assert_error(service.post("/api/dead-letters/replay", {"all": True}, source.key), 403, "Invalid JWT Token")


def test_one_that_may_only_read_sends_nothing(service: Service):
    name = f"reader-{time.time_ns()}"
    key = command(service, "create", name, "--role", "read").strip()
    until(lambda: service.statuses("GET", "/api/leads", key) == {200}, CHANGE_DEADLINE, 0.1)

    assert_error(service.post("/api/leads", a_lead(), key), 403, "This API key may not do that.")


def test_the_daily_cap_is_exact_under_concurrent_requests(service: Service):
    # Given a source with a cap of 50 leads a day
    source = Source(service, "--daily-cap", "50")

    # When eight clients send 80 leads at once
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: source.post(), range(80)))

    # Then fifty are accepted, and the rest are told which limit it is and until when
    assert Counter(each.status_code for each in answers) == {202: 50, 429: 30}
    refused = next(each for each in answers if each.status_code == 429)
    midnight = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
    message = f"The daily cap of source {source.name} is 50 leads a day: 0 more until {midnight}"
    assert_error(refused, 429, message)
    assert 0 < refused.json()["retry_after"] <= 86_400
    assert refused.headers["Retry-After"] == str(refused.json()["retry_after"])
    # And fifty are stored
    service.wait_until_nothing_waits()
    assert service.page(source=source.name)["pagination"]["total"] == 50


def test_a_bulk_that_does_not_fit_is_refused_whole(service: Service):
    source = Source(service, "--daily-cap", "10")
    source.accept(7)

    answer = source.post_bulk(4)

    assert answer.status_code == 429
    assert f"The daily cap of source {source.name} is 10 leads a day: 3 more until " in answer.json()["message"]
    source.accept(3)
    assert source.post().status_code == 429


def test_the_rate_is_exact_within_a_minute(service: Service):
    # Given a source with a rate, at the beginning of a minute of Redis's clock, which is this machine's
    source = Source(service, "--rate", "20")
    until(lambda: time.time() % 60 < 30, 60, 0.1)

    answers = [source.post() for _ in range(30)]

    assert Counter(each.status_code for each in answers) == {202: 20, 429: 10}
    refused = answers[-1]
    assert f"The rate of source {source.name} is 20 leads a minute: 0 more until " in refused.json()["message"]
    assert 0 < refused.json()["retry_after"] <= 60


def test_a_repeated_request_is_answered_when_the_cap_is_used_up(service: Service):
    source = Source(service, "--daily-cap", "1")
    lead, key = a_lead(), f"once-{time.time_ns()}"
    first = source.post(lead, Idempotency_Key=key)
    assert source.post().status_code == 429

    again = source.post(lead, Idempotency_Key=key)

    assert again.status_code == 202
    assert again.json()["data"] == first.json()["data"]


def test_the_same_idempotency_key_of_two_sources_is_two_leads(service: Service):
    key, lead = f"shared-{time.time_ns()}", a_lead()

    made = {Source(service).post(lead, Idempotency_Key=key).json()["data"]["id"] for _ in range(2)}

    assert len(made) == 2


def test_a_disabled_source_is_out_within_five_seconds_and_may_come_back(service: Service):
    # Given a source that sends
    source = Source(service)

    # When it is disabled
    command(service, "disable", source.name)
    begun = time.monotonic()
    source.wait_until_refused(source.key)
    took = time.monotonic() - begun

    # Then no process takes its key any more; the time is in the report, its bound in docs/sources.md
    print(f"out after {took:.1f} s")
    assert_error(source.post(), 403, "Invalid API key")
    assert "disabled" in command(service, "show", source.name)

    # And enabled again it goes on with the same key
    command(service, "enable", source.name)
    source.wait_until_known(source.key)


def test_two_keys_are_good_while_one_is_rotated(service: Service):
    # Given a source whose key is rotated twice
    source = Source(service)
    second = command(service, "rotate", source.name).strip()
    source.wait_until_known(second)
    assert source.post(key=source.key).status_code == 202
    third = command(service, "rotate", source.name, "--grace", "0").strip()
    source.wait_until_known(third)

    # Then with no hours left only the last one opens
    source.wait_until_refused(second)
    assert_error(source.post(key=source.key), 403, "Invalid API key")
    assert source.post(key=third).status_code == 202
    shown = command(service, "show", source.name)
    assert third[:15] in shown
    assert source.key[:15] not in shown
    # And no secret is ever shown again
    assert third[16:] not in shown


@pytest.mark.parametrize(
    "key", ["lead_", "lead_abcdefghij_", "lead_abcdefghij_" + "A" * 43, "lead_" + "x" * 5000], ids=len
)
def test_a_key_that_is_none_of_ours_is_refused(service: Service, key: str):
    assert_error(service.post("/api/leads", a_lead(), key), 403, "Invalid API key")


def test_limits_may_be_changed(service: Service):
    source = Source(service, "--daily-cap", "1")
    source.accept()
    assert source.post().status_code == 429

    command(service, "change", source.name, "--daily-cap", "3")

    until(lambda: source.post().status_code == 202, CHANGE_DEADLINE, 0.2)
    assert "daily cap  3 a day" in command(service, "show", source.name)


def test_the_command_says_what_is_wrong_in_one_line(embedded: Service):
    name = f"taken-{time.time_ns()}"
    command(embedded, "create", name)
    wrong = {
        ("create", name): f"Error: {name} exists already",
        ("create", "No Name"): "Error: a source's name should match ^[a-z0-9][a-z0-9._-]{0,39}$",
        ("show", "nobody"): "Error: there is no source nobody",
        ("rotate", "nobody"): "Error: there is no source nobody",
        ("disable", "nobody"): "Error: there is no source nobody",
    }

    for arguments, said in wrong.items():
        done = embedded.run("ingest_api", "source", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{said}\n")
    assert name in command(embedded, "list")


def test_who_made_a_source_and_what_it_read_is_in_the_audit_trail(service: Service):
    source = Source(service, "--role", "ingest", "--role", "read")
    source.get("/api/leads")

    def actions() -> set[str]:
        shown = service.run("schema", "audit", "--json", "--limit", "1000").stdout
        return {line for line in shown.splitlines() if source.name in line}

    lines = until(lambda: (found := actions()) and any('"list"' in each for each in found) and found, 30, 0.5)
    assert any("source_created" in line for line in lines)
    assert any(f"source:{source.name}" in line and '"list"' in line for line in lines)


def test_no_key_is_in_logs_requests_or_metrics(embedded: Service):
    # Given a source that sends, is refused, and puts its key where none belongs
    source = Source(embedded, "--daily-cap", "1")
    source.accept()
    assert source.post().status_code == 429
    embedded.get(
        f"/api/leads/{source.key}", source.key, params={"cursor": source.key}, headers={"X-Partner": source.key}
    )
    secret = source.key[16:]

    # Then its secret is nowhere that people look
    def requests() -> str:
        shown = embedded.run("ingest_api", "requests", "errors", "-n", "3").stdout
        ids = [line.split()[-1] for line in shown.splitlines()]
        return shown + "".join(embedded.run("ingest_api", "requests", "show", "--json", each).stdout for each in ids)

    until(lambda: re.search(rf" 403 .*source:{re.escape(source.name)} ", requests()), 30, 0.2)
    places = [requests(), embedded.output, embedded.errors, embedded.get("/metrics", None).text]
    places += [path.read_text(errors="replace") for path in embedded.data.glob("logs/*") if path.is_file()]
    assert not any(secret in each for each in places)
    # And the metrics count by source
    assert f'leads_source_accepted_total{{source="{source.name}"}} 1.0' in places[3]
    assert f'leads_source_refused_total{{reason="source_cap",source="{source.name}"}} 1.0' in places[3]
