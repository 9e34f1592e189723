"""A client that sends many leads concurrently, as raw HTTP on asyncio streams, so that it takes little CPU."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.kit.leads import a_lead
from tests.kit.service import Service

# Timeout (seconds) of an answer, after which the client closes the connection and sends a new lead.
ANSWER_TIMEOUT = 5.0

# Pause (seconds) before a retry.
PAUSE = 0.05


@dataclass
class Ledger:
    """What the client saw, independently of the service's own ledger."""

    wanted: int
    unsent: int  # leads that no connection is sending
    ids: list[str] = field(default_factory=list)  # ids of the leads answered with 202
    refused: int = 0  # answers with 503
    broken: int = 0  # connections that ended without an answer
    strange: list[str] = field(default_factory=list)  # any other answer


def send(
    service: Service,
    wanted: int,
    *,
    connections: int = 32,
    deadline: float = 60.0,
    halfway: Callable[[], None] | None = None,
    **changes: str,
) -> Ledger:
    """Send leads until `wanted` are answered with 202. Raises TimeoutError after `deadline` seconds.

    A lead without an answer, or with a 503, is replaced by a new one.

    `halfway` is called once, after a third of the leads, while requests are in flight. `changes`
    are fields of the leads.
    """
    ledger = Ledger(wanted, wanted)
    token = service.token()
    asyncio.run(_send(service.port, token, ledger, connections, deadline, halfway, changes))
    return ledger


async def _send(
    port: int,
    token: str,
    ledger: Ledger,
    connections: int,
    deadline: float,
    halfway: Callable[[], None] | None,
    changes: dict[str, str],
) -> None:
    tasks = [asyncio.create_task(_client(port, token, ledger, changes)) for _ in range(connections)]
    try:
        async with asyncio.timeout(deadline):
            if halfway is not None:
                while len(ledger.ids) < ledger.wanted // 3:
                    await asyncio.sleep(0.002)
                halfway()
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _client(port: int, token: str, ledger: Ledger, changes: dict[str, str]) -> None:
    head = (
        "POST /api/leads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: "
    )
    writer: asyncio.StreamWriter | None = None
    reader: asyncio.StreamReader
    while ledger.unsent:
        ledger.unsent -= 1
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps(a_lead(**changes))
            writer.write(f"{head}{len(body)}\r\n\r\n{body}".encode())
            async with asyncio.timeout(ANSWER_TIMEOUT):
                status, answer = await _answer(reader)
        except (OSError, EOFError, TimeoutError):
            ledger.broken += 1
            ledger.unsent += 1
            if writer is not None:
                writer.close()
                writer = None
            await asyncio.sleep(PAUSE)
            continue
        if status == 202:
            ledger.ids.append(json.loads(answer)["data"]["id"])
        elif status == 503:
            ledger.refused += 1
            ledger.unsent += 1
            await asyncio.sleep(PAUSE)
        else:
            ledger.strange.append(f"{status} {answer[:200]!r}")
    if writer is not None:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)
