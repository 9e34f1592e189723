"""The rate limit as it is by default, under load: a thousand requests a minute for each IP, over all processes."""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.kit.leads import a_lead, assert_error
from tests.kit.service import Service

LIMIT, WINDOW = 1000, 60
CONNECTIONS = 24


async def client(service: Service, address: str, token: str, answers: list[httpx.Response], number: int) -> None:
    """Send requests from an address until there are `number` answers, every second of them a lead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, local_addr=(address, 0))
    head = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
    while number:
        number -= 1
        if number % 2:
            body = json.dumps(a_lead())
            kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"POST /api/leads HTTP/1.1\r\n{head}{kind}\r\n{body}".encode())
        else:
            writer.write(f"GET /api/leads?limit=1 HTTP/1.1\r\n{head}\r\n".encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        found = httpx.Headers(headers)
        content = await reader.readexactly(int(found["Content-Length"]))
        answers.append(httpx.Response(int(lines[0].split()[1]), headers=found, content=content))
    writer.close()


async def send(service: Service, token: str, requests: dict[str, int]) -> dict[str, list[httpx.Response]]:
    """Send so many requests from each address, all at once; return the answers by address."""
    answers: dict[str, list[httpx.Response]] = {address: [] for address in requests}
    tasks = []
    for address, number in requests.items():
        shares = [number // CONNECTIONS + (each < number % CONNECTIONS) for each in range(CONNECTIONS)]
        tasks += [client(service, address, token, answers[address], share) for share in shares if share]
    await asyncio.gather(*tasks)
    return answers


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has the whole of 127.0.0.0/8")
def test_of_a_thousand_and_one_requests_of_one_ip_exactly_one_is_429(tmp_path: Path):
    # Given several API processes with the limit that is the default
    with Service(tmp_path, rate_limit=LIMIT, http_workers=3) as service:
        token = service.token()

        # When two clients send at once, one of them one request too many, the other exactly as many as it may
        begun = time.monotonic()
        answers = asyncio.run(send(service, token, {"127.0.7.1": LIMIT + 1, "127.0.7.2": LIMIT}))
        assert time.monotonic() - begun < WINDOW, "too slow to tell: a window is a minute"

        # Then one request of the first is refused, and says how long to wait
        refused = [answer for answer in answers["127.0.7.1"] if answer.status_code == 429]
        assert len(refused) == 1
        body = assert_error(refused[0], 429, "Rate limit exceeded")
        assert 1 <= body["retry_after"] <= WINDOW
        assert refused[0].headers["Retry-After"] == str(body["retry_after"])
        assert refused[0].headers["X-RateLimit-Limit"] == str(LIMIT)
        assert refused[0].headers["X-RateLimit-Remaining"] == "0"
        assert refused[0].headers["X-RateLimit-Reset"] == str(body["retry_after"])
        # And each of the others was counted once, in both windows
        for found in answers.values():
            passed = [answer for answer in found if answer.status_code in (200, 202)]
            left = Counter(int(answer.headers["X-RateLimit-Remaining"]) for answer in passed)
            assert left == Counter(range(LIMIT))
