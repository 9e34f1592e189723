"""Guessing passwords: what it meets, and that nobody else notices."""

import itertools
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.servers import RedisServer, until
from tests.kit.service import EMAIL, PASSWORD, Service

from . import raw

FREE = 10  # failures without a delay, the default

# Checks at a time in all processes together: so many may fail beyond those that are allowed.
PROCESSES = 2
CHECKS = 2 * PROCESSES

WRONG = "not the password"

_hosts = itertools.count(1)
_users = itertools.count(1)


@pytest.fixture(scope="module")
def queue() -> Iterator[RedisServer]:
    """A Redis of this module's own."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, queue: RedisServer) -> Iterator[Service]:
    """A service with the limit that users have, behind a trusted proxy that tells the clients' addresses."""
    limits = {"login_failures": FREE, "http_workers": PROCESSES, "redis_timeout": 2, "trusted_proxies": "127.0.0.1/32"}
    with Service(tmp_path_factory.mktemp("guarded"), redis_url=queue.url, **limits) as service:
        service.token()
        yield service


def somewhere() -> str:
    """Return an address that no client had before."""
    number = next(_hosts)
    return f"203.0.{113 + number // 250}.{1 + number % 250}"


def log_in(service: Service, email: str, password: str, address: str) -> httpx.Response:
    """Log in on a connection of its own, so that any process may answer."""
    body = {"email": email, "password": password}
    headers = {"X-Forwarded-For": address}
    return httpx.post(f"{service.base_url}/api/login_check", json=body, headers=headers, timeout=60)


def a_user(service: Service) -> str:
    email = f"user{next(_users)}@example.com"
    made = service.user("create", email, "--role", "read", password=PASSWORD)
    assert made.returncode == 0, made.stderr
    return email


def assert_limited(answer: httpx.Response) -> int:
    """Check the 429 and return how long to wait, in seconds."""
    body = assert_error(answer, 429, "Too many failed log-ins")
    assert answer.headers["Retry-After"] == str(body["retry_after"])
    assert 1 <= body["retry_after"] <= 900
    return int(body["retry_after"])


def is_delayed(answer: httpx.Response) -> bool:
    """Tell whether log-ins like this one are refused for so long that a busy machine does not miss it."""
    return answer.status_code == 429 and assert_limited(answer) > 4


def guess(service: Service, email: str) -> httpx.Response:
    """Guess from many addresses, until the account has a delay of some seconds; return the next answer."""
    for _ in range(FREE):
        assert_error(log_in(service, email, WRONG, somewhere()), 401, "Invalid credentials")
    until(lambda: is_delayed(log_in(service, email, WRONG, somewhere())), 60, 0.1)
    return log_in(service, email, WRONG, somewhere())


def test_guesses_of_one_account_from_many_addresses_are_refused_and_so_is_the_right_password(guarded: Service):
    email = a_user(guarded)

    guess(guarded, email)

    wait = assert_limited(log_in(guarded, email, PASSWORD, somewhere()))
    until(lambda: log_in(guarded, email, PASSWORD, somewhere()).status_code == 200, wait + 10, 0.2)
    # What it was judged by is forgotten.
    assert_error(log_in(guarded, email, WRONG, somewhere()), 401)


def test_an_account_that_does_not_exist_is_answered_alike(guarded: Service):
    answers = [guess(guarded, email) for email in (a_user(guarded), "nobody@example.com")]

    assert all(assert_limited(answer) for answer in answers)
    assert answers[0].json().keys() == answers[1].json().keys()
    assert answers[0].headers.keys() == answers[1].headers.keys()


def test_who_guesses_does_not_lock_out_who_logged_in_from_elsewhere(guarded: Service):
    email, home = a_user(guarded), somewhere()
    assert log_in(guarded, email, PASSWORD, home).status_code == 200

    guess(guarded, email)

    assert log_in(guarded, email, PASSWORD, home).status_code == 200
    # Nor does this log-in clear the way for the guesses.
    assert_limited(log_in(guarded, email, WRONG, somewhere()))


def test_guesses_at_home_are_counted_too(guarded: Service):
    email, home = a_user(guarded), somewhere()
    assert log_in(guarded, email, PASSWORD, home).status_code == 200

    for _ in range(FREE):
        assert_error(log_in(guarded, email, WRONG, home), 401)
    until(lambda: is_delayed(log_in(guarded, email, WRONG, home)), 60, 0.1)

    assert_limited(log_in(guarded, email, PASSWORD, home))


@pytest.mark.parametrize("host", ["{0}", "2001:db8:{1:x}::{0}"], ids=["IPv4", "any of an IPv6 network"])
def test_many_accounts_from_one_address_are_refused_also_with_a_good_log_in_between(guarded: Service, host: str):
    network, single = next(_hosts), somewhere()
    mine = a_user(guarded)

    def address(number: int) -> str:
        return single if host == "{0}" else host.format(number, network)

    for number in range(FREE):
        assert log_in(guarded, mine, PASSWORD, address(number)).status_code == 200
        assert_error(log_in(guarded, f"someone{number}@example.com", WRONG, address(number)), 401)
    until(lambda: is_delayed(log_in(guarded, "someone@example.com", WRONG, address(98))), 60, 0.1)

    assert_limited(log_in(guarded, EMAIL, PASSWORD, address(99)))
    assert log_in(guarded, EMAIL, PASSWORD, somewhere()).status_code == 200


def test_parallel_guesses_are_not_checked_and_others_are_served(guarded: Service):
    email, attacker = a_user(guarded), somewhere()

    with ThreadPoolExecutor(25) as threads:
        guesses = [threads.submit(log_in, guarded, f"a{number}@example.com", WRONG, attacker) for number in range(72)]
        good = threads.submit(log_in, guarded, email, PASSWORD, somewhere()).result()
        found = [guess.result() for guess in guesses]

    assert good.status_code == 200
    statuses = [answer.status_code for answer in found]
    assert set(statuses) == {401, 429}
    # Each that is beyond is refused when its turn comes; only those being checked at that moment are not.
    assert FREE <= statuses.count(401) <= FREE + CHECKS


def request_of(email: str, address: str) -> bytes:
    body = json.dumps({"email": email, "password": WRONG}).encode()
    return (
        b"POST /api/login_check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"X-Forwarded-For: %b\r\nContent-Length: %d\r\n\r\n%b" % (address.encode(), len(body), body)
    )


def opened(service: Service, number: int) -> list[socket.socket]:
    """Send so many wrong log-ins at once, each for another account from another address."""
    found = []
    for each in range(number):
        connection = socket.create_connection(("127.0.0.1", service.port), 60)
        connection.sendall(request_of(f"flood{each}-{time.time()}@example.com", somewhere()))
        found.append(connection)
    return found


def refused(service: Service, reason: str) -> float:
    """Return how many requests were refused for a reason, from the metrics."""
    name = f'leads_rejected_total{{reason="{reason}"}} '
    lines = httpx.get(f"{service.base_url}/metrics", timeout=20).text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def test_the_line_is_bounded_and_leads_go_on(guarded: Service):
    connections = opened(guarded, 300)

    taken = guarded.post("/api/leads", a_lead())
    answers = [raw.receive(connection) for connection in connections]

    assert taken.status_code == 202
    assert {answer.status_code for answer in answers} == {401, 503}
    busy = [answer for answer in answers if answer.status_code == 503]
    for answer in busy:
        assert_error(answer, 503, "Too many log-ins wait.")
        assert int(answer.headers["Retry-After"]) >= 1
    for connection in connections:
        connection.close()


def test_who_has_hung_up_leaves_the_line(guarded: Service):
    before = refused(guarded, "client_gone")

    for connection in opened(guarded, 120):
        connection.close()

    assert log_in(guarded, EMAIL, PASSWORD, somewhere()).status_code in (200, 503)
    until(lambda: refused(guarded, "client_gone") > before, 20, 0.1)
    until(lambda: log_in(guarded, EMAIL, PASSWORD, somewhere()).status_code == 200, 20, 0.1)


def test_nothing_personal_is_in_redis_and_nothing_typed_is_in_a_log(guarded: Service, queue: RedisServer):
    address = somewhere()
    assert_error(log_in(guarded, "Pa55word-in-the-Field", WRONG, address), 401)
    assert log_in(guarded, EMAIL, PASSWORD, address).status_code == 200
    client = queue.client()

    found = client.keys("leads:login:*")
    until(lambda: client.llen("leads:requests"), 20)
    texts = [*found, *(client.get(key) or b"" for key in found)]
    texts += client.lrange("leads:requests", 0, -1) + client.lrange("leads:requests:errors", 0, -1)
    texts += [path.read_bytes() for path in (guarded.data / "logs").glob("*.log")] + [guarded.errors.encode()]

    assert len(found) >= 3
    assert all(client.ttl(key) > 0 for key in found)
    assert not any(EMAIL.encode() in text or address.encode() in text for text in [*found, *texts[: 2 * len(found)]])
    assert not any(b"pa55word-in-the-field" in text.lower() for text in texts)


@pytest.mark.destructive("queue")
@pytest.mark.parametrize("trouble", ["away", "full"])
def test_while_redis_is_away_or_full_each_process_counts(guarded: Service, queue: RedisServer, trouble: str):
    email, memory = a_user(guarded), queue.client().config_get("maxmemory")["maxmemory"]
    if trouble == "away":
        queue.kill()
    else:
        queue.client().config_set("maxmemory", 1)
    try:
        # Each guess on a connection of its own: in the end both processes have counted enough.
        until(
            lambda: all(is_delayed(log_in(guarded, email, WRONG, somewhere())) for _ in range(6 * PROCESSES)), 90, 0.1
        )

        assert_limited(log_in(guarded, email, PASSWORD, somewhere()))
        assert log_in(guarded, EMAIL, PASSWORD, somewhere()).status_code == 200
    finally:
        if trouble == "away":
            queue.start()
        else:
            queue.client().config_set("maxmemory", memory)
