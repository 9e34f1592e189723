"""Bento as a contender, in both forms of loadtests/peers/bento."""

from pathlib import Path
from typing import Any

import httpx
import psutil
import redis

from loadtests.bench.peers import CannotInstall, Peer
from loadtests.bench.wrk import BadAnswers
from loadtests.peers import bento

NOT_DONE = "no token, rate limit, idempotency, counts, request log, dead letters; two indexes in place of four"


class Bento(Peer):
    """One process that answers when the row is committed."""

    name = "bento"
    what = "Bento (Go): HTTP, INSERT in batches of 200 leads or 5 ms, 200"
    not_done = NOT_DONE
    broker = 3

    def __init__(self, directory: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(directory, *arguments, **options)
        self.environment |= bento.environment(
            address=f"127.0.0.1:{self.port}", redis_url=self.broker_url, database_url=self.database_url
        )

    def start(self) -> None:
        """Start it; on return it accepts leads.

        Raises CannotInstall.
        """
        if not bento.is_installed():
            raise CannotInstall(bento.NOT_INSTALLED)
        super().start()

    def commands(self) -> dict[str, list[str]]:
        """Return the commands."""
        return {"api": bento.command("direct")}

    def api(self) -> list[psutil.Process]:
        """Return the one process that answers."""
        return [psutil.Process(self.running["api"].pid)]

    def waiting(self) -> int:
        """Return 0, because each lead is stored before it is answered."""
        return 0

    def check_reply(self, answer: httpx.Response) -> None:
        """Check the status; there is no body.

        Raises BadAnswers.
        """
        if answer.status_code != 200:
            raise BadAnswers(f"{self.name}: {answer.status_code} {answer.text[:200]}")


class BentoQueue(Bento):
    """A process that answers when the lead is in Redis, and one that stores."""

    name = "bento-queue"
    what = "Bento (Go), two processes: HTTP, XADD in batches of 64 or 1 ms, 200; XREADGROUP, INSERT in batches"
    not_done = NOT_DONE + "; the stream is never trimmed, nor claimed what a dead process held"
    broker = 4

    def commands(self) -> dict[str, list[str]]:
        """Return the commands."""
        return {"api": bento.command("intake"), "worker": bento.command("store")}

    def waiting(self) -> int:
        """Return how many entries of the stream are not acknowledged."""
        with redis.Redis.from_url(self.broker_url, socket_timeout=10) as client:
            return bento.waiting(client)
