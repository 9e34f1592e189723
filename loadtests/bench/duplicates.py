"""Measures what first leads take of Redis and of the database: `python -m loadtests.bench.duplicates`.

A part of one period is filled, so that each of its hashes has as many contacts as at the rate that is asked for.
"""

import argparse
import os
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis
from sqlalchemy import text

from ingest_api.intake.append import AppendRequest, NewLead, append_script, arguments_of
from loadtests.bench.servers import bench_database
from schema.database import engines, first_leads
from schema.database.first_leads import FirstLead
from schema.database.tables import metadata
from schema.lead import codec
from schema.lead.contacts import CONTACT_SIZE
from schema.lead.lead_id import new_lead_id
from schema.queue.keys import FIRST_LEADS_BITS, FIRST_LEADS_PREFIX, INDEX, STREAM
from tests.kit.databases import DATABASES
from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer

DAY = 24 * 60 * 60
DAYS = 30
# Days of a period, as append.lua has it, and periods before the present one.
PERIOD = DAYS // 2
PERIODS = 2

# Hashes of a period.
HASHES = 1 << FIRST_LEADS_BITS

# Leads in one call of the script, each a request of its own.
FLUSH = 100

# First leads in one transaction, and contacts in the table.
BATCH = 2_000
CONTACTS_IN_TABLE = 400_000

# Leads whose cost is measured.
TIMED = 20_000


def main() -> int:
    """Print the bytes of a contact in both, what 30 days take, and Redis's processor time for a lead."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench.duplicates", description=__doc__)
    parser.add_argument("--leads", type=int, default=200_000, help="leads to remember, each of another person")
    parser.add_argument("--leads-a-day", type=int, default=1_000_000, help="rate that the hashes are as full as at")
    parser.add_argument("--database", choices=DATABASES, default="", help="MySQL where there is one, else MariaDB")
    options = parser.parse_args()
    hashes = round(HASHES * options.leads / (options.leads_a_day * PERIOD))
    with RedisServer() as server:
        client = server.client()
        without = _seconds_for(client, [b""] * TIMED, days=0)
        before = _memory(client)
        _append(client, list(_contacts(options.leads, hashes)), DAYS)
        size = (_memory(client) - before) / (2 * options.leads)
        keys = [each.decode() for each in client.scan_iter(f"{FIRST_LEADS_PREFIX}*:*:*", count=10_000)]
        kind = client.object("encoding", keys[0]).decode()
        _copy_to_earlier_periods(client, keys)
        looking = _seconds_for(client, list(_contacts(TIMED, hashes)), DAYS)
        print(f"Redis {server.version()}: {2 * options.leads / len(keys):.0f} contacts in a hash ({kind})")
    print(f"a contact          {size:.1f} bytes")
    # A period is forgotten when its last contact is past its days.
    for days in (DAYS, DAYS + PERIOD):
        memory = 2 * options.leads_a_day * days * size / 1e9
        print(f"{days} days            {memory:.2f} GB at {options.leads_a_day:,} leads a day, each of another person")
    print(f"a lead, processor  {without * 1e6:.1f} µs without looking, {looking * 1e6:.1f} µs with {DAYS} days")
    version, stored = _in_database(options.database)
    memory = 2 * options.leads_a_day * DAYS * stored / 1e9
    print(f"a contact's row    {stored:.0f} bytes with its index in {version}: {memory:.1f} GB for {DAYS} days")
    return 0


def _in_database(name: str) -> tuple[str, float]:
    """Fill `first_leads` of a new server; return its version, and the bytes for each contact."""
    with bench_database(name) as server:
        engine = engines.writer(server.create_database(), timeout=60)
        with engine.connect() as connection:
            metadata.create_all(connection)
            connection.commit()
            for _ in range(CONTACTS_IN_TABLE // BATCH):
                ids = [new_lead_id() for _ in range(BATCH)]
                with connection.begin():
                    first_leads.remember(connection, [FirstLead(os.urandom(CONTACT_SIZE), each) for each in ids])
            connection.execute(text("ANALYZE TABLE first_leads"))
            size = "SELECT data_length + index_length FROM information_schema.tables WHERE table_name = 'first_leads'"
            found = int(connection.execute(text(size)).scalar_one())
        engine.dispose()
        return f"{type(server).__name__.removesuffix('Server')} {server.version()}", found / CONTACTS_IN_TABLE


def _contacts(leads: int, hashes: int) -> Iterator[bytes]:
    """Yield the two contacts of so many persons, which fall into the first `hashes` of a period."""
    rest = 8 * CONTACT_SIZE - FIRST_LEADS_BITS
    for _ in range(leads):
        firsts = (random.randrange(hashes) << rest | random.getrandbits(rest) for _ in range(2))
        yield b"".join(each.to_bytes(CONTACT_SIZE) for each in firsts)


def _append(client: redis.Redis, contacts: Sequence[bytes], days: int) -> None:
    """Append a lead for each pair of contacts, then empty the stream, as workers do."""
    script: Callable[..., Any] = append_script().register(client)
    fields = codec.encode(new_lead_id(), a_lead())
    for start in range(0, len(contacts), FLUSH):
        requests = [
            AppendRequest(leads=(NewLead(new_lead_id(), fields, each),), duplicate_days=days)
            for each in contacts[start : start + FLUSH]
        ]
        script(
            queue_max=10 * len(contacts),
            rate_limit=0,
            bulk_limit=0,
            rate_window=60_000,
            key_ttl=DAY,
            duplicate_days=days,
            duplicate_redis_days=DAYS,
            requests=len(requests),
            rest=list(arguments_of(requests)),
        )
    client.delete(STREAM, INDEX)


def _seconds_for(client: redis.Redis, contacts: Sequence[bytes], days: int) -> float:
    """Append leads; return Redis's processor time for each, in seconds."""
    before = _processor(client)
    _append(client, contacts, days)
    return (_processor(client) - before) / len(contacts)


def _copy_to_earlier_periods(client: redis.Redis, keys: Sequence[str]) -> None:
    """Fill the periods before with contacts that nobody comes with."""
    for key in keys:
        days, period, contact = key.removeprefix(FIRST_LEADS_PREFIX).split(":")
        for earlier in range(1, PERIODS + 1):
            client.copy(key, f"{FIRST_LEADS_PREFIX}{days}:{int(period) - PERIOD * earlier}:{contact}")


def _memory(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def _processor(client: redis.Redis) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


if __name__ == "__main__":
    raise SystemExit(main())
