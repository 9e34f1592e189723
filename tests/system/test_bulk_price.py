"""What a bulk request may cost: the bodies that once stalled a process for seconds and filled its memory.

One API process serves, so whatever it does for one request the others feel.
"""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.servers import until
from tests.kit.service import Service

from . import raw

MIB = 1024 * 1024
NDJSON = "application/x-ndjson"

# What an answer and a process may grow to. A process that answers has some 100 MiB.
ANSWER_MAX = 400 * 1024
GROWTH_MAX = 200 * MIB

# Most processor time (seconds) that the process may spend while one lead waits: a busy machine does not add to it.
WAIT_MAX = 1.0

# Most processor time (seconds) for one request, the leads beside it included. It was two seconds.
SPENT_MAX = 0.8

# The largest bodies that a process takes at once, and the small ones.
LARGEST_AT_ONCE = 4
SMALL_AT_ONCE = 64


def unknown_keys(items: int = 1000, keys: int = 780) -> bytes:
    """Return 6.9 MB of objects with unknown keys."""
    return json.dumps([{f"k{number}": 1 for number in range(keys)}] * items, separators=(",", ":")).encode()


BODIES = {
    "unknown keys": (unknown_keys(), "application/json"),
    "unknown keys in lines": (b"\n".join([unknown_keys(1)[1:-1]] * 1000), NDJSON),
    "long keys": (
        json.dumps([{"x" * 200 + str(number): 1 for number in range(40)}] * 900).encode(),
        "application/json",
    ),
    "empty arrays": (b"[" + b"[]," * (8 * MIB // 3 - 2) + b"[]]", "application/json"),
    "arrays within one": (b"[[" + b"[]," * (8 * MIB // 3 - 2) + b"[]]]", "application/json"),
    "numbers": (b"[" + b"1," * (4 * MIB - 2) + b"1]", "application/json"),
    "numbers within one": (b'[{"a":[' + b"1," * (4 * MIB - 10) + b"1]}]", "application/json"),
    "short lines": (b"{}\n" * (8 * MIB // 3), NDJSON),
    "blank lines": (b"\n" * 8 * MIB, NDJSON),
    "long integers": (
        b"[" + b",".join([b'{"additionalData":{"a":[%b]}}' % b",".join([b"9" * 30] * 250)] * 1000) + b"]",
        "application/json",
    ),
}


@dataclass
class Meanwhile:
    """What others saw: for each lead the processor time until its answer, in seconds, and the memory, in bytes."""

    waits: list[float] = field(default_factory=list)
    before: int = 0
    most: int = 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one API process."""
    with Service(tmp_path_factory.mktemp("alone"), http_workers=1) as service:
        # Four of the largest at once take long on a busy machine; how long others wait is what is tested.
        service.client.timeout = 60
        yield service


def api(service: Service) -> psutil.Process:
    """Return the process that answers."""
    return max(service.one("api").children(), key=lambda each: each.memory_info().rss)


def spent_by(process: psutil.Process) -> float:
    """Return the processor time, in seconds, that a process has spent."""
    return float(sum(process.cpu_times()[:2]))


@contextmanager
def others(service: Service) -> Iterator[Meanwhile]:
    """Send leads one after the other, and watch the process's memory, while the block runs."""
    seen = Meanwhile()
    process = api(service)
    seen.before = seen.most = process.memory_info().rss
    headers = service.headers()
    ended = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=service.base_url, timeout=60, headers=headers) as client:
            while not (ended.is_set() and seen.waits):
                begun = spent_by(process)
                answer = client.post("/api/leads", json=a_lead())
                seen.waits.append(spent_by(process) - begun)
                assert answer.status_code == 202, answer.text

    def watch() -> None:
        while not ended.wait(0.02):
            seen.most = max(seen.most, process.memory_info().rss)

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(send), pool.submit(watch)]
        try:
            yield seen
        finally:
            ended.set()
        for each in running:
            each.result()


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_no_client_should_send_is_cheap(alone: Service, name: str):
    body, kind = BODIES[name]
    assert len(body) <= 8 * MIB
    process = api(alone)
    begun = spent_by(process)

    with others(alone) as seen:
        answer = alone.post("/api/leads/bulk", body, Content_Type=kind)
    spent = spent_by(process) - begun

    assert_error(answer, 400, "Validation failed")
    assert len(answer.content) < ANSWER_MAX
    assert max(seen.waits) < WAIT_MAX
    assert seen.most - seen.before < GROWTH_MAX
    assert spent < SPENT_MAX


def test_many_at_once_take_a_bounded_memory_and_those_beyond_are_503(alone: Service):
    body, _ = BODIES["unknown keys"]

    with others(alone) as seen, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: alone.post("/api/leads/bulk", body), range(24)))

    for answer in answers:
        if answer.status_code == 503:
            message = "Too many bulk requests at once. Nothing was accepted."
            assert int(answer.headers["Retry-After"]) == assert_error(answer, 503, message)["retry_after"] >= 1
        else:
            assert_error(answer, 400, "Validation failed")
    assert max(seen.waits) < WAIT_MAX
    assert seen.most - seen.before < GROWTH_MAX


def test_the_largest_leads_at_once_are_taken_in_a_bounded_memory(alone: Service):
    lead = a_lead(additionalData={"a": ["x"] * 4090})
    body = json.dumps([lead] * 500, separators=(",", ":")).encode()

    with others(alone) as seen, ThreadPoolExecutor(LARGEST_AT_ONCE) as pool:
        answers = list(pool.map(lambda _: alone.post("/api/leads/bulk", body), range(LARGEST_AT_ONCE)))

    for answer in answers:
        assert assert_success(answer, 202)["accepted"] == 500
    assert max(seen.waits) < WAIT_MAX
    assert seen.most - seen.before < GROWTH_MAX


def begin(service: Service) -> socket.socket:
    """Begin a bulk request whose body does not come."""
    connection = socket.create_connection(("127.0.0.1", service.port), raw.TIMEOUT)
    connection.sendall(raw.request(service, "POST", "/api/leads/bulk", Content_Length=str(8 * MIB)))
    return connection


def test_the_places_are_taken_by_those_who_send_and_free_again_when_they_leave(alone: Service):
    with ExitStack() as stack:

        def refusal() -> httpx.Response | None:
            # Each time one more, since our own request may have had the place that it came for.
            stack.enter_context(begin(alone))
            answer = alone.post("/api/leads/bulk", [a_lead()])
            return answer if answer.is_error else None

        answer = until(refusal)

        body = assert_error(answer, 503, "Too many bulk requests at once. Nothing was accepted.")
        assert answer.headers["Retry-After"] == str(body["retry_after"])
        assert alone.post("/api/leads", a_lead()).status_code == 202
    until(lambda: alone.post("/api/leads/bulk", [a_lead()]).status_code == 202)


def test_sixty_four_small_ones_at_once_are_taken(alone: Service):
    with ThreadPoolExecutor(SMALL_AT_ONCE) as pool:
        answers = list(pool.map(lambda _: alone.post("/api/leads/bulk", [a_lead()] * 10), range(3 * SMALL_AT_ONCE)))

    assert {answer.status_code for answer in answers} == {202}


def test_each_item_is_told_its_own_errors_and_from_the_hundred_and_first_on_that_it_has_some(alone: Service):
    broken = [a_lead(email="nobody"), {}, a_lead(**{"y" * 100: 1}), *[a_lead(phone="x")] * 200]

    data = assert_success(alone.post("/api/leads/bulk", [a_lead(), *broken]), 202)

    assert (data["accepted"], data["rejected"]) == (1, 203)
    errors = [result["errors"] for result in data["results"][1:]]
    assert [result["index"] for result in data["results"]] == list(range(204))
    assert errors[0].keys() == {"email"}
    assert errors[2].keys() == {"y" * 64}
    assert [each.keys() for each in errors[3:100]] == [{"phone"}] * 97
    assert all("spells out" in each["body"][0] for each in errors[100:])

    body = assert_error(alone.post("/api/leads/bulk", broken), 400, "Validation failed")
    assert "99.phone" in body["errors"]
    assert "100.body" in body["errors"]


def test_a_lead_alone_is_bounded_likewise(alone: Service):
    many = {f"k{number}": 1 for number in range(100_000)}
    assert len(json.dumps(many)) < 2 * MIB

    for keys in (51, 80_000):
        body = assert_error(alone.post("/api/leads", {f"k{number}": 1 for number in range(keys)}), 400)
        assert body["errors"] == {"body": ["A lead should have at most 50 fields."]}

    answer = alone.post("/api/leads", {"x" * 1000 + str(number): 1 for number in range(50)})
    assert_error(answer, 400, "Validation failed")
    assert len(answer.content) < 4096


@pytest.mark.parametrize("number", ["18446744073709551616", "-9223372036854775809", "9" * 100])
def test_an_integer_over_64_bits_is_400_and_spoils_its_own_item_alone(alone: Service, number: str):
    wrong = json.dumps(a_lead(additionalData={"order": [0]})).replace("[0]", f"[{number}]").encode()
    right = json.dumps(a_lead(additionalData={"order": 2**64 - 1})).encode()
    expected = {"additionalData": ["Integers in this value should fit into 64 bits."]}

    assert assert_error(alone.post("/api/leads", wrong), 400, "Validation failed")["errors"] == expected
    for body, kind in ((b"[%b,%b]" % (wrong, right), "application/json"), (b"%b\n%b" % (wrong, right), NDJSON)):
        results = assert_success(alone.post("/api/leads/bulk", body, Content_Type=kind), 202)["results"]
        assert results[0] == {"index": 0, "errors": expected}
        assert alone.lead(results[1]["id"])["additionalData"] == {"order": 2**64 - 1}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one process that allows 50 requests and 2,000 leads in bulk; loopback is a trusted proxy."""
    directory = tmp_path_factory.mktemp("limited")
    with Service(directory, http_workers=1, rate_limit=50, bulk_limit=2000, trusted_proxies="127.0.0.1/32") as service:
        for number in range(1, 4):
            assert service.user("create", f"{number}@example.com", "--role", "ingest", password=SECRET).returncode == 0
        yield service


SECRET = "a long enough password"


def client_of(service: Service, number: int) -> tuple[httpx.Client, str]:
    """Return a client with an address and a user of its own, and the user's token."""
    token = service.token(f"{number}@example.com", SECRET)
    headers = {"X-Forwarded-For": f"10.9.{number}.1", "Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=service.base_url, headers=headers, timeout=20), token


@pytest.mark.parametrize("path", ["/api/leads/bulk", "/api/leads"])
def test_whoever_is_over_the_rate_limit_is_refused_before_a_body_is_read(limited: Service, path: str):
    client, token = client_of(limited, 1)
    with client:
        until(lambda: client.get("/api/nothing").status_code == 429)

    fields = {"Authorization": f"Bearer {token}", "Content_Length": "1000000", "X_Forwarded_For": "10.9.1.1"}
    with socket.create_connection(("127.0.0.1", limited.port), raw.TIMEOUT) as connection:
        # No byte of the body is sent.
        connection.sendall(raw.request(limited, "POST", path, **fields))
        answer = raw.receive(connection)

    body = assert_error(answer, 429, "Rate limit exceeded")
    assert 1 <= body["retry_after"] <= 60
    assert answer.headers["X-RateLimit-Remaining"] == "0"


def test_a_bulk_counts_by_its_leads_for_its_user_alone(limited: Service):
    one, token = client_of(limited, 2)
    other, _ = client_of(limited, 3)
    leads = [a_lead(), *[a_lead(email="nobody")] * 999]
    with one, other:
        assert one.post("/api/leads/bulk", json=leads).status_code == 202
        assert one.post("/api/leads/bulk", json=[{}] * 999).status_code == 400
        # One lead is left of the 2,000, and whoever has one left may send a whole request.
        assert one.post("/api/leads/bulk", json=leads).status_code == 202

        refused = one.post("/api/leads/bulk", json=[a_lead()])

        body = assert_error(refused, 429, "Bulk limit exceeded")
        assert 1 <= body["retry_after"] <= 60
        assert refused.headers["Retry-After"] == str(body["retry_after"])
        # The rate limit goes on beside it, and its headers are its own.
        assert int(refused.headers["X-RateLimit-Remaining"]) == 50 - 4
        assert one.post("/api/leads", json=a_lead()).status_code == 202
        assert other.post("/api/leads/bulk", json=leads).status_code == 202
        # Another address is no way out.
        assert_error(one.post("/api/leads/bulk", json=leads, headers={"X-Forwarded-For": "10.9.9.9"}), 429)

    fields = {"Authorization": f"Bearer {token}", "Content_Length": "8000000", "X_Forwarded_For": "10.9.2.1"}
    with socket.create_connection(("127.0.0.1", limited.port), raw.TIMEOUT) as connection:
        # No byte of the body is sent.
        connection.sendall(raw.request(limited, "POST", "/api/leads/bulk", **fields))
        assert_error(raw.receive(connection), 429, "Bulk limit exceeded")
