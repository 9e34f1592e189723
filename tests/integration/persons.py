"""What the tests of a person share: Ann, the commands, and the ledger."""

import json
from typing import Any

from click.testing import CliRunner, Result

from ingest_api.request_log.record import Record, encode
from schema.database import idempotency
from schema.lead import lead_id
from schema.lead.lead_id import LeadId, new_lead_ids
from schema.ledger import read_ledger
from schema.person.command import person as command
from schema.queue import keys
from schema.queue.request_pages import page_of
from tests.integration.backends import POISON, Backend, fields_of
from tests.integration.workers import Worker

ANN = {"email": "Ann.Lee@example.org", "phone": "+4930123456"}


def run(backend: Backend, *arguments: str) -> Result:
    environment = {
        "LEADS_REDIS_URL": backend.settings.redis_url,
        "LEADS_DATABASE_URL": backend.settings.database_url,
        "LEADS_DATA_DIR": str(backend.settings.data_dir),
    }
    return CliRunner(env=environment).invoke(command, list(arguments), catch_exceptions=False)


def erase(backend: Backend, *arguments: str) -> Result:
    result = run(backend, "erase", "--yes", *(arguments or ("--email", "ann.lee@EXAMPLE.org")))
    assert result.exit_code == 0, result.output
    return result


def shown(backend: Backend, *arguments: str) -> list[dict[str, Any]]:
    result = run(backend, "show", *(arguments or ("--email", "ann.lee@EXAMPLE.org")))
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def logged(backend: Backend, number: int, body: object, path: str = "/api/leads", query: str = "") -> None:
    """Put a request into the request log, which keeps nothing masked here."""
    record = Record(
        number, 5, f"r{number}", "POST", path, 400, "invalid", "::1", "", "", query, body, "", {"status": "error"}, ""
    )
    for key in (keys.REQUESTS, keys.REQUEST_ERRORS):
        backend.client.rpush(key, page_of([encode(record)]))
        backend.client.incr(f"{key}:held")


def off(backend: Backend) -> int:
    with backend.engine.connect() as connection:
        return read_ledger(connection, backend.shards).imbalance


def erased(backend: Backend) -> int:
    with backend.engine.connect() as connection:
        return read_ledger(connection, backend.shards).erased


def with_keys(backend: Backend, *fields: dict[str, Any]) -> list[LeadId]:
    """Append leads that came in one bulk request with an Idempotency-Key, or a single one."""
    key = idempotency.key_of("ada@example.com", f"order-{len(fields)}")
    ids = new_lead_ids(key, len(fields)) if len(fields) > 1 else [lead_id.new_lead_id()]
    backend.append_with_key(ids, list(fields), key)
    return ids


def anns_leads(backend: Backend) -> list[LeadId]:
    """Make Ann's leads, stored, dead and waiting, and three others; return hers. The queue is not drained."""
    backend.refuse(POISON)
    first = backend.accept_all([fields_of(1), fields_of(2, **ANN), fields_of(3, **ANN, firstName=POISON)])
    single = with_keys(backend, fields_of(4, **ANN))
    Worker(backend).run()
    backend.stop_refusing()
    bulk = with_keys(backend, fields_of(5), fields_of(6, **ANN))
    last = backend.accept_all([fields_of(7, phone="4930123456"), fields_of(8)])
    logged(backend, 1, {"email": "ANN.LEE@example.org "})
    logged(backend, 2, None, query="email=ann.lee%40example.org")
    logged(backend, 3, None, path=f"/api/leads/{lead_id.to_text(first[1])}")
    logged(backend, 4, {"email": "joann.lee@example.org"})
    return [*first[1:], *single, bulk[1], last[0]]
