"""The rate limit: so many requests a minute for each client IP, over all API processes.

Each test is a client of its own: by an address of the loopback network, or as the trusted proxy tells.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.kit.leads import a_lead, assert_common_headers, assert_error
from tests.kit.service import Service

LIMIT = 20

_hosts = itertools.count(1)


@pytest.fixture
def peer(strict: Service) -> Iterator[httpx.Client]:
    """A client that connects from an address nobody else has, each time anew: any process may answer."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has the whole of 127.0.0.0/8")
    transport = httpx.HTTPTransport(
        local_address=f"127.0.1.{next(_hosts)}", limits=httpx.Limits(max_keepalive_connections=0)
    )
    with httpx.Client(base_url=strict.base_url, transport=transport, headers=strict.headers(), timeout=20) as client:
        yield client


@pytest.fixture
def forwarded(strict: Service) -> Iterator[httpx.Client]:
    """The trusted proxy."""
    limits = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=strict.base_url, limits=limits, headers=strict.headers(), timeout=20) as client:
        yield client


def use_up(call: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """Make the calls of a whole window, none of which may be limited, and return their answers."""
    answers = [call() for _ in range(LIMIT)]
    assert 429 not in {answer.status_code for answer in answers}
    return answers


def test_twenty_pass_and_the_next_is_429(peer: httpx.Client):
    answers = use_up(lambda: peer.get("/api/leads"))

    assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"20"}
    assert [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers] == list(range(19, -1, -1))
    resets = [int(answer.headers["X-RateLimit-Reset"]) for answer in answers]
    assert resets == sorted(resets, reverse=True)
    assert 55 <= resets[-1] <= resets[0] <= 60

    refused = peer.get("/api/leads")

    body = assert_error(refused, 429, "Rate limit exceeded")
    assert 1 <= body["retry_after"] <= 60
    assert refused.headers["Retry-After"] == str(body["retry_after"])
    assert refused.headers["X-RateLimit-Limit"] == "20"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert refused.headers["X-RateLimit-Reset"] == str(body["retry_after"])


def test_of_many_at_once_exactly_twenty_pass(peer: httpx.Client):
    with ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda _: peer.post("/api/leads", json=a_lead()).status_code, range(64)))

    assert codes.count(202) == LIMIT
    assert codes.count(429) == 64 - LIMIT


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("POST", "/api/leads", {"json": {}}),
        ("POST", "/api/leads", {"content": b"{", "headers": {"Content-Type": "application/json"}}),
        ("POST", "/api/leads", {"content": b"x", "headers": {"Content-Type": "text/plain"}}),
        ("POST", "/api/leads", {"json": a_lead(), "headers": {"Authorization": ""}}),
        ("POST", "/api/leads", {"json": a_lead(), "headers": {"Authorization": "Bearer x"}}),
        ("POST", "/api/leads", {"json": a_lead(), "headers": {"Idempotency-Key": "a b"}}),
        ("POST", "/api/leads", {"json": a_lead(), "headers": {"Accept": "text/html"}}),
        ("POST", "/api/leads/bulk", {"json": []}),
        ("POST", "/api/leads/bulk", {"json": [a_lead()] * 101}),
        ("POST", "/api/login_check", {"json": {}}),
        ("GET", "/api/leads", {"headers": {"Authorization": ""}}),
        ("GET", "/api/leads?page=0", {}),
        ("GET", "/api/leads/x", {}),
        ("GET", "/api/nothing", {}),
        ("DELETE", "/api/leads", {}),
        ("HEAD", "/api/leads", {}),
        ("OPTIONS", "/api/leads", {}),
        ("GET", "/api/leads/stats", {}),
        ("GET", "/api/openapi.json", {}),
    ],
)
def test_every_request_counts_once_whatever_becomes_of_it(peer: httpx.Client, method: str, path: str, options: dict):
    for left in (19, 18, 17):
        answer = peer.request(method, path, **options)

        assert int(answer.headers["X-RateLimit-Remaining"]) == left, answer.text


@pytest.mark.parametrize("path", ["/api/leads", "/api/nothing", "/health/live", "/health/ready", "/metrics", "/"])
def test_every_answer_has_the_headers_counted_or_not(peer: httpx.Client, path: str):
    answer = peer.get(path)

    assert_common_headers(answer)
    assert answer.headers["X-RateLimit-Limit"] == "20"


def test_refused_requests_use_up_the_window(peer: httpx.Client):
    use_up(lambda: peer.get("/api/leads", headers={"Authorization": ""}))

    assert_error(peer.get("/api/leads"), 429)
    assert_error(peer.get("/api/leads", headers={"Authorization": ""}), 429)
    assert_error(peer.post("/api/leads", json={}), 429)
    assert_error(peer.get("/api/nothing"), 429)
    assert_error(peer.post("/api/login_check", json={}), 429)


def test_health_and_metrics_do_not_count(peer: httpx.Client):
    for path in ("/health/live", "/health/ready", "/metrics") * 10:
        assert peer.get(path).status_code == 200

    use_up(lambda: peer.get("/api/leads"))

    assert_error(peer.get("/api/leads"), 429)
    assert peer.get("/health/live").status_code == 200


def test_a_lead_over_the_limit_is_not_taken(strict: Service, peer: httpx.Client):
    use_up(lambda: peer.get("/api/leads"))
    lead = a_lead()

    assert_error(peer.post("/api/leads", json=lead), 429)
    assert_error(peer.post("/api/leads/bulk", json=[lead]), 429)

    proxied = {**strict.headers(), "X-Forwarded-For": f"10.1.0.{next(_hosts)}"}
    marker = strict.client.post("/api/leads", json=a_lead(), headers=proxied).json()["data"]["id"]
    while strict.client.get(f"/api/leads/{marker}", headers=proxied).json()["data"]["state"] != "stored":
        proxied["X-Forwarded-For"] = f"10.1.0.{next(_hosts)}"
    found = strict.client.get("/api/leads", params={"email": lead["email"]}, headers=proxied)
    assert found.json()["data"]["items"] == []


def test_nobody_believes_what_an_untrusted_peer_says_of_itself(peer: httpx.Client):
    numbers = itertools.count()
    use_up(lambda: peer.get("/api/leads", headers={"X-Forwarded-For": f"10.2.0.{next(numbers)}"}))

    for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"):
        value = "for=10.2.1.1" if header == "Forwarded" else "10.2.1.1"
        assert_error(peer.get("/api/leads", headers={header: value}), 429)


def test_clients_behind_the_trusted_proxy_do_not_disturb_each_other(forwarded: httpx.Client):
    one, other = ({"X-Forwarded-For": address} for address in ("10.3.0.1", "10.3.0.2"))
    use_up(lambda: forwarded.get("/api/leads", headers=one))

    assert_error(forwarded.get("/api/leads", headers=one), 429)

    assert forwarded.get("/api/leads", headers=other).headers["X-RateLimit-Remaining"] == "19"


def test_the_addresses_that_the_client_wrote_itself_are_not_believed(forwarded: httpx.Client):
    numbers = itertools.count()
    use_up(lambda: forwarded.get("/api/leads", headers={"X-Forwarded-For": f"10.4.1.{next(numbers)}, 10.4.0.1"}))

    for forged in ("10.4.1.99, 10.4.0.1", "127.0.0.1, 10.4.0.1", "nonsense,10.4.0.1", ", 10.4.0.1", "10.4.0.1"):
        assert_error(forwarded.get("/api/leads", headers={"X-Forwarded-For": forged}), 429)
    # A trusted proxy before the last one is passed over.
    assert_error(forwarded.get("/api/leads", headers={"X-Forwarded-For": "9.9.9.9, 10.4.0.1, 127.0.0.1"}), 429)


def test_a_line_of_its_own_does_not_make_a_forged_address_true(forwarded: httpx.Client):
    numbers = itertools.count()

    def call() -> httpx.Response:
        lines = [("X-Forwarded-For", f"10.5.1.{next(numbers)}"), ("X-Forwarded-For", "10.5.0.1")]
        return forwarded.get("/api/leads", headers=[*forwarded.headers.multi_items(), *lines])

    use_up(call)

    assert_error(call(), 429)


@pytest.mark.parametrize("value", ["", ",", "x", "10.6.0.1:80", "[::1]:80", "::1", "fe80::1%eth0", "\x01", "1" * 5000])
def test_a_strange_forwarded_address_breaks_nothing(forwarded: httpx.Client, value: str):
    answer = forwarded.get("/api/nothing", headers={"X-Forwarded-For": value.encode()})

    assert answer.status_code in (400, 404, 429)


def test_an_address_written_in_two_ways_is_one_client(forwarded: httpx.Client):
    first = forwarded.get("/api/leads", headers={"X-Forwarded-For": "2001:db8::1"})
    second = forwarded.get("/api/leads", headers={"X-Forwarded-For": "2001:0DB8:0:0:0:0:0:1"})

    assert first.headers["X-RateLimit-Remaining"] == "19"
    assert second.headers["X-RateLimit-Remaining"] == "18"
