"""Clients that send leads and record each 202 in a file, independently of the system's own ledger."""

import asyncio
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx

# Longest wait (seconds) for an answer and for a connection, and pause before a retry.
TIMEOUT = 3.0
CONNECT_TIMEOUT = 1.0
PAUSE = 0.2

CONNECTIONS = 6  # of one client

# Seconds for which a client leaves out an address that did not answer with 202, where it has others.
LEFT_OUT = 2.0


@dataclass(frozen=True)
class Promise:
    """One 202: its time, the lead's id and the address sent."""

    at: float  # seconds since 1970
    lead: str
    email: str
    keyed: bool  # whether it was sent with an Idempotency-Key


class Clients:
    """Several client processes that share a steady rate."""

    def __init__(
        self,
        urls: Sequence[str],
        tokens: Sequence[str],
        directory: Path,
        *,
        number: int,
        rate: float,
        keys: bool,
        phones: Sequence[str] = ("+442071234567",),
    ) -> None:
        """Prepare `number` clients that together send `rate` leads per second, to one address after another.

        Each lead is sent with one of `tokens`, and has one of `phones`. With `keys`, half of the leads have an
        Idempotency-Key and are retried until they are answered with 202, or with the 429 of a source that may send no
        more.
        """
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._files = [directory / f"ledger-{each}" for each in range(number)]
        load = _Load(urls, tokens, phones, rate / number, keys)
        self._processes = [
            context.Process(target=_client, args=(load, str(file), self._stop, each), daemon=True)
            for each, file in enumerate(self._files)
        ]

    def start(self) -> None:
        """Start sending."""
        for process in self._processes:
            process.start()

    def stop(self) -> None:
        """Stop sending and wait until open requests are answered or time out."""
        self._stop.set()
        for process in self._processes:
            process.join(TIMEOUT * 4)

    def promises(self) -> list[Promise]:
        """Return every recorded 202, by time."""
        return sorted(
            (promise for file in self._files for promise in parse_promises(file.read_text())),
            key=lambda promise: promise.at,
        )

    @property
    def files(self) -> list[Path]:
        """The files of recorded 202s, one for each client."""
        return self._files

    def requests(self) -> Counter[str]:
        """Return the number of requests by status code or error."""
        total: Counter[str] = Counter()
        for file in self._files:
            for line in Path(f"{file}.requests").read_text().splitlines():
                name, number = line.split(" ")
                total[name] += int(number)
        return total


def parse_promises(ledger: str) -> list[Promise]:
    """Return the 202s in whole lines of a client's ledger."""
    found = (line.split(" ") for line in ledger.splitlines())
    return [Promise(float(at), lead, email, keyed == "keyed") for at, lead, email, keyed in found]


class Addresses:
    """The addresses of one client: it takes one after another, and leaves out for a while what has failed."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._left_out = dict.fromkeys(urls, 0.0)
        self._order = list(urls)

    def take(self) -> str:
        """Return the next address: of those that are left out now, the first that may be tried again."""
        now = time.monotonic()
        chosen = min(self._order, key=lambda url: max(self._left_out[url], now))
        self._order.remove(chosen)
        self._order.append(chosen)
        return chosen

    def leave_out(self, url: str) -> None:
        """Note that the address has failed."""
        self._left_out[url] = time.monotonic() + LEFT_OUT


class _Load(NamedTuple):
    """What one client sends, and where."""

    urls: Sequence[str]
    tokens: Sequence[str]
    phones: Sequence[str]
    rate: float  # leads a second
    keys: bool


def _client(load: _Load, file: str, stop: object, number: int) -> None:
    asyncio.run(_Client(load, file, stop, number).run())


class _Client:
    def __init__(self, load: _Load, file: str, stop: object, number: int) -> None:
        self._addresses = Addresses([f"{url}/api/leads" for url in load.urls])
        self._load = load
        self._ledger = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = file
        self._interval = CONNECTIONS / load.rate
        self._stop = stop
        self._name = f"{os.getpid()}-{number}"
        self._sent = 0
        self._outcomes: Counter[str] = Counter()

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS)
        async with httpx.AsyncClient(timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT), limits=limits) as http:
            await asyncio.gather(
                *(self._send_leads(http, keyed=self._load.keys and not each % 2) for each in range(CONNECTIONS))
            )
        Path(f"{self._file}.requests").write_text(
            "".join(f"{name} {number}\n" for name, number in self._outcomes.items())
        )

    async def _send_leads(self, http: httpx.AsyncClient, *, keyed: bool) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            self._sent += 1
            email = f"{self._name}-{self._sent}@example.com"
            phone = random.choice(self._load.phones)
            headers = {"Authorization": f"Bearer {random.choice(self._load.tokens)}"}
            # Without a key a client must not retry, because the first request may have been accepted.
            if keyed:
                headers["Idempotency-Key"] = email
                while not await self._send(http, email, phone, headers) and not self._stop.is_set():
                    await asyncio.sleep(PAUSE)
            else:
                await self._send(http, email, phone, headers)
            await asyncio.sleep(max(0.0, self._interval * random.uniform(0.5, 1.5) - (time.monotonic() - begun)))

    async def _send(self, http: httpx.AsyncClient, email: str, phone: str, headers: dict[str, str]) -> bool:
        """Send a lead once; tell whether that was its last time."""
        lead = {
            "firstName": "Chaos",
            "lastName": "Monkey",
            "email": email,
            "phone": phone,
            "dateOfBirth": "1990-12-10",
        }
        url = self._addresses.take()
        try:
            answer = await http.post(url, json=lead, headers=headers)
        except httpx.HTTPError as error:
            self._outcomes[type(error).__name__] += 1
            self._addresses.leave_out(url)
            return False
        self._outcomes[str(answer.status_code)] += 1
        if answer.status_code == 429:
            return True
        if answer.status_code not in (200, 202):
            self._addresses.leave_out(url)
            return False
        # Bento answers without a body.
        lead_id = answer.json()["data"]["id"] if answer.content else email
        kind = "keyed" if "Idempotency-Key" in headers else "bare"
        os.write(self._ledger, f"{time.time():.3f} {lead_id} {email} {kind}\n".encode())
        return True
