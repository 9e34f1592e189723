"""The erasure of a person: removes all that is found, until nothing is.

Redis and the database are not one transaction, so the order counts. What can only be found while the leads are known
goes first. Then the leads are noted as erased, in the transaction that deletes their rows; from then on no worker
stores them. Their entries in the queue go last. Whenever it is killed, a second run finds what is left.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from schema.database import first_leads
from schema.database.errors import Reaction, reaction_to
from schema.lead.lead_id import LeadId
from schema.person import places
from schema.person.identity import Person
from schema.person.places import Found
from schema.person.removal import NotNow, QueueRemoval, remove_rows
from schema.runtime.redis_clients import ShardClient

# Pause (seconds) before the next search: what API processes note of requests reaches Redis within it.
PASS_PAUSE = 0.5

# Most searches. A person whose leads come in faster than they are erased has to be kept out.
PASSES_MAX = 10

# Most runs of a transaction that ends in a deadlock or a lock timeout.
ATTEMPTS = 5


@dataclass(slots=True)
class Erased:
    """How much was erased, by where it was."""

    rows: int = 0
    waiting: int = 0
    dead: int = 0
    keys: int = 0
    requests: int = 0


class Erasure:
    """Erases one person. `reading` searches, and may take long; `writing` is the workers' kind of connection."""

    def __init__(self, reading: Connection, writing: Connection, shards: Sequence[ShardClient]) -> None:
        self._reading = reading
        self._writing = writing
        self._shards = shards
        self._queue = QueueRemoval(shards)

    def run(self, person: Person) -> Erased:
        """Erase until a search finds nothing; return how much that was.

        On return nothing of the person is in the tables or in Redis's memory; its files may still hold old bytes.
        Raises NotNow, RedisError and SQLAlchemyError; then it may be run again.
        """
        erased = Erased()
        known: set[LeadId] = set()
        for found in self._passes(person, known):
            known |= found.leads
            self._queue.remove_traces(found)
            erased.rows += self._remove_rows(found)
            self._queue.remove_entries(found)
            dead = sum(each.is_dead for each in found.waiting)
            erased.dead += dead
            erased.waiting += len(found.waiting) - dead
            erased.keys += len({each.name for each in found.keys})
            erased.requests += len({(each[0], each[2]) for page in found.pages for each in page.records})
        # Also where the first lead is gone for long.
        self._queue.forget_contacts(person.contacts)
        with self._writing.begin():
            first_leads.remove_contacts(self._writing, person.contacts)
        return erased

    def _passes(self, person: Person, known: set[LeadId]) -> Iterator[Found]:
        for number in range(PASSES_MAX):
            if number:
                time.sleep(PASS_PAUSE)
            found = places.search(self._reading, self._shards, person, known)
            # End the snapshot of the search.
            self._reading.rollback()
            if found:
                yield found
            elif number:
                return
        raise NotNow("leads of this person keep coming in: run it again, with --keep-out")

    def _remove_rows(self, found: Found) -> int:
        if not found.leads and not found.keys:
            return 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return remove_rows(self._writing, found)
            except SQLAlchemyError as error:
                if reaction_to(error) is not Reaction.RETRY or attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")
