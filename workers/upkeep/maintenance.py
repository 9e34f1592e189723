"""Maintenance: compacts the counts of past minutes, makes partitions ahead, and removes what is past its time."""

import os
import time

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from schema.audit import trail
from schema.counts import by_source, maintain, retention
from schema.database import first_leads, partitions
from schema.database.errors import reason_of
from schema.lead.contacts import CONTACT_SIZE
from schema.runtime import logs
from schema.settings import Settings
from schema.settings.queue import DUPLICATE_DAYS_MAX

# Longest time (seconds) that one run compacts minutes; the rest is left to the next run.
COMPACT_TIME_BUDGET = 20.0

# Longest time (seconds) that one run removes audit events.
FORGET_TIME_BUDGET = 10.0

# Longest time (seconds) that one run looks for first leads to remove: some hundred thousand of them.
CONTACTS_TIME_BUDGET = 1.0

# Days for which a first lead stays beyond those that count: leads that wait are compared by the time they came.
BACKLOG_DAYS = 7

# Most minutes compacted in one transaction.
MINUTES_MAX = 200

log = logs.get(__name__)


class Maintenance:
    """The maintenance task, which beat sends every minute. Make it after the fork."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._retention = settings.retention_months
        self._audit_days = settings.audit_days
        # A worker that does not look for duplicates forgets nothing that others may look for.
        self._duplicate_days = settings.duplicate_days or DUPLICATE_DAYS_MAX

    def run(self) -> dict[str, int]:
        """Compact, make and remove; return the numbers of minutes, partitions, expired leads, audit events, contacts.

        A step that the database refuses is left to the next run; `failed` has the number of those.
        """
        done = {"minutes": 0, "months": 0, "expired": 0, "audit_events": 0, "contacts": 0}
        steps = {
            "months": self._make_months,
            "expired": self._expire,
            "minutes": self._compact,
            "audit_events": self._forget_audit_events,
            "contacts": self._forget_contacts,
        }
        for name, step in steps.items():
            try:
                done[name] = step()
            except SQLAlchemyError as error:
                done["failed"] = done.get("failed", 0) + 1
                log.warning("maintenance cut short", step=name, reason=reason_of(error))
        if done["expired"]:
            log.info("leads past the retention removed", leads=done["expired"])
        return done

    def _make_months(self) -> int:
        with self._engine.connect() as connection:
            return partitions.make_ahead(connection, _now())

    def _expire(self) -> int:
        if not self._retention:
            return 0
        with self._engine.connect() as connection:
            return retention.expire(connection, self._retention, _now())

    def _forget_audit_events(self) -> int:
        """Remove audit events past LEADS_AUDIT_DAYS; each batch in a transaction of its own."""
        deadline = time.monotonic() + FORGET_TIME_BUDGET
        done = 0
        while self._audit_days:
            with self._engine.begin() as connection:
                removed = trail.forget(connection, self._audit_days)
            done += removed
            if removed < trail.AUDIT_FORGET_MAX or time.monotonic() > deadline:
                break
        return done

    def _forget_contacts(self) -> int:
        """Remove first leads past LEADS_DUPLICATE_DAYS.

        In a large table a run looks at a part: from anywhere to the end, and then from the beginning.
        """
        deadline = time.monotonic() + CONTACTS_TIME_BUDGET
        before = _now() - (self._duplicate_days + BACKLOG_DAYS) * first_leads.DAY_MICROS
        done = 0
        for start in (os.urandom(CONTACT_SIZE), b""):
            place: bytes | None = start
            while place is not None and time.monotonic() < deadline:
                with self._engine.begin() as connection:
                    place, removed = first_leads.forget(connection, place, before)
                done += removed
        return done

    def _compact(self) -> int:
        deadline = time.monotonic() + COMPACT_TIME_BUDGET
        done = 0
        with self._engine.connect() as connection:
            while True:
                with connection.begin():
                    minutes = maintain.due(connection, MINUTES_MAX)
                if minutes:
                    with connection.begin():
                        maintain.compact_minutes(connection, minutes)
                    done += len(minutes)
                if time.monotonic() > deadline:
                    return done
                if len(minutes) < MINUTES_MAX:
                    break
            with connection.begin():
                maintain.compact_slots(connection)
                for counts in by_source.KINDS:
                    counts.merge_slots(connection)
        return done


def _now() -> int:
    return time.time_ns() // 1000
