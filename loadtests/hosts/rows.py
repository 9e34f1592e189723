"""Watches which leads are rows, at every database server at once, from outside."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from loadtests.chaos.clients import Promise, parse_promises
from loadtests.hosts.parts import Database, System
from tests.kit.hosts import Host

# Interval (seconds) between two looks at one server.
LOOK_INTERVAL = 0.7

# Most leads that one look is for: the newest ones, so that a lost one hides no other.
ASKED_MAX = 5000

# Age (seconds) of a lead that is no row, at which nobody looks for it any more.
GIVEN_UP = 600.0


class Rows:
    """When each lead was first seen as a row, on any server: a majority of them had it then."""

    def __init__(self, hosts: Sequence[Host], database: Database, system: System, ledgers: Sequence[Path]) -> None:
        """Take the clients' files of 202s."""
        self._database = database
        self._system = system
        self._read = dict.fromkeys(ledgers, 0)  # bytes read of each
        self._missing: list[Promise] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(host,), daemon=True) for host in hosts]
        self._threads.append(threading.Thread(target=self._read_ledgers, daemon=True))
        self.seen: dict[str, float] = {}

    def start(self) -> None:
        """Begin watching."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, host: Host) -> None:
        while not self._stop.wait(LOOK_INTERVAL):
            missing = self._missing[-ASKED_MAX:]
            if not missing:
                continue
            rows = self._database.ask(host, self._system.found([promise.lead for promise in missing]))
            now = time.time()
            with self._lock:
                for (lead,) in rows:
                    self.seen.setdefault(str(lead).replace("-", "").lower(), now)

    def _read_ledgers(self) -> None:
        """Keep the 202s that are no rows yet, by time."""
        while not self._stop.wait(LOOK_INTERVAL):
            since = time.time() - GIVEN_UP
            self._missing = [
                promise
                for promise in (*self._missing, *self._news())
                if promise.at > since and promise.lead.replace("-", "") not in self.seen
            ]

    def _news(self) -> list[Promise]:
        """Return the 202s that were recorded since the last call."""
        found = []
        for file, begin in self._read.items():
            if file.exists():
                with file.open("rb") as ledger:
                    ledger.seek(begin)
                    whole, end, _ = ledger.read().rpartition(b"\n")
                self._read[file] = begin + len(whole + end)
                found += parse_promises(whole.decode())
        return found
