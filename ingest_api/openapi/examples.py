"""Examples for the answers that a client should know."""

import json
from typing import Any

from ingest_api.auth.source_schemas import RETRY_REPAIRED
from ingest_api.http.envelope import RETRY_AWAY, RETRY_FULL
from schema.lead.rules import BLANK, NOT_EMAIL, NOT_PHONE

LEAD_EXAMPLE = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": "ada@example.com",
    "phone": "+442071234567",
    "dateOfBirth": "1990-12-10",
}
OTHER = {
    "firstName": "Grace",
    "lastName": "Hopper",
    "email": "grace@example.com",
    "phone": "+12025550123",
    "dateOfBirth": "1986-12-09",
    "additionalData": {"campaign": "spring"},
    "consent": {
        "url": "https://cert.trustedform.com/0123456789abcdef",
        "ip": "192.0.2.7",
        "at": "2026-11-22T09:40:58Z",
    },
}
BROKEN = {"firstName": "", "lastName": "Nobody", "email": "nobody", "phone": "0", "dateOfBirth": "1990-12-10"}

ID_EXAMPLE = "019abc12-3456-7def-8123-456789abcdef"
FIRST_LEAD_EXAMPLE = "019aa5f4-0b1c-7a3e-9d52-2f6c8e01b7a4"  # of the first lead, where ID_EXAMPLE's is a duplicate
TIME_EXAMPLE = "2026-11-22T09:41:07.123456Z"
LETTER = "1763804467123-0"

SOURCE_EXAMPLE = "acme"

TOKEN = {"token": "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGFAZXhhbXBsZS5jb20ifQ.c2lnbmF0dXJl"}
CREDENTIALS_EXAMPLE = {"email": "test@example.com", "password": "password123"}

# Messages by field, as the lead BROKEN gets them.
ERRORS_EXAMPLE = {"firstName": [BLANK], "email": [NOT_EMAIL], "phone": [NOT_PHONE]}

# The same where the source has a JSON Schema for additionalData.
SCHEMA_ERRORS_EXAMPLE = {
    "additionalData.vehicle.year": ["This value should be a whole number."],
    "additionalData.items.2.price": ["This value should be a number."],
}


def success(code: int, message: str, data: Any) -> dict[str, Any]:
    """Return a success envelope."""
    return {"status": "success", "code": code, "message": message, "data": data}


def error(code: int, message: str, **more: Any) -> dict[str, Any]:
    """Return an error envelope, with `errors` and `retry_after` if given."""
    return {"status": "error", "code": code, "message": message, **more}


def lead(state: str) -> dict[str, Any]:
    """Return an accepted lead."""
    return {
        "id": ID_EXAMPLE,
        **LEAD_EXAMPLE,
        "additionalData": None,
        "createdAt": TIME_EXAMPLE,
        "updatedAt": TIME_EXAMPLE,
        "state": state,
    }


# One exported lead.
NDJSON_LINES = json.dumps({**lead("stored"), "source": SOURCE_EXAMPLE}, separators=(",", ":")) + "\n"
CSV_LINES = (
    "id,firstName,lastName,email,phone,dateOfBirth,additionalData,createdAt,updatedAt,source,consent,"
    "duplicateOf\r\n"
    f"{ID_EXAMPLE},Ada,Lovelace,ada@example.com,+442071234567,1990-12-10,,{TIME_EXAMPLE},{TIME_EXAMPLE},{SOURCE_EXAMPLE},,\r\n"
)


def page() -> dict[str, Any]:
    """Return a page of leads."""
    pagination = {"total": 41, "page": 1, "limit": 1, "total_pages": 41, "next_cursor": "gAAAAABpIZzb"}
    return {"items": [{**lead("stored"), "source": SOURCE_EXAMPLE}], "pagination": pagination}


def changes() -> dict[str, Any]:
    """Return the answer to a reader that follows what is stored."""
    items = [{**lead("stored"), "source": SOURCE_EXAMPLE}]
    return {"items": items, "next_cursor": "AQAAAAAAAAAAAAAAAAAAAAAAAAZEzau0yAB6q2Xq"}


def bulk() -> dict[str, Any]:
    """Return the answer to a bulk request with two leads."""
    return {
        "accepted": 1,
        "rejected": 1,
        "results": [{"index": 0, "id": ID_EXAMPLE}, {"index": 1, "errors": ERRORS_EXAMPLE}],
    }


def bulk_with_duplicates() -> dict[str, Any]:
    """Return the answer to a bulk request with a duplicate, of the first lead in it."""
    return {
        "accepted": 2,
        "rejected": 0,
        "results": [
            {"index": 0, "id": FIRST_LEAD_EXAMPLE},
            {"index": 1, "id": ID_EXAMPLE, "duplicateOf": FIRST_LEAD_EXAMPLE},
        ],
    }


def bulk_with_refused() -> dict[str, Any]:
    """Return the answer to the same request of a source that has duplicates refused."""
    return {
        "accepted": 1,
        "rejected": 1,
        "results": [
            {"index": 0, "id": FIRST_LEAD_EXAMPLE},
            {"index": 1, "errors": {"duplicateOf": [FIRST_LEAD_EXAMPLE]}},
        ],
    }


def stats() -> dict[str, Any]:
    """Return the counts of two hours."""
    items = [
        {"time": "2026-11-22T08:00:00Z", "accepted": 1200, "stored": 1200, "refused": 3, "duplicates": 36},
        {"time": "2026-11-22T09:00:00Z", "accepted": 800, "stored": 790, "refused": 0, "duplicates": 21},
    ]
    return {"interval": "hour", "from": items[0]["time"], "to": "2026-11-22T10:00:00Z", **_sums(items), "items": items}


def _sums(items: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(item[name] for item in items) for name in ("accepted", "stored", "refused", "duplicates")}


def letters() -> dict[str, Any]:
    """Return a page of dead letters."""
    kept = {name: value for name, value in lead("queued").items() if name != "state"}
    letter = {
        "letter": LETTER,
        "reason": "DataError 1406",
        "since": "2026-11-22T09:41:08.001Z",
        "id": ID_EXAMPLE,
        "lead": kept,
    }
    return {"items": [letter], "total": 1, "next": None, "reasons": {letter["reason"]: 1}, "reasons_of": 1}


def ready() -> dict[str, Any]:
    """Return the answer of a ready service."""
    ledger = {"accepted": 2000, "stored": 1990, "expired": 0, "dead": 0, "dropped": 0, "erased": 0, "waiting": 10}
    ledger["imbalance"] = 0
    replicas = [{"address": "10.0.0.2:6379", "lag_bytes": 0}]
    servers = {
        "queue": [{"shard": 0, "primary": "10.0.0.1:6379", "replicas": replicas}],
        "database": {"primary": "db1:3306", "replica_lag_seconds": 0.1},
    }
    return {"queue": True, "database": True, "ledger": ledger, "servers": servers}


def status() -> dict[str, Any]:
    """Return the answer of a service whose leads are being stored."""
    return {
        "time": "2026-11-22T09:41:08.001Z",
        "embedded": False,
        "waiting": 10,
        "queue_full": False,
        "oldest_age_seconds": 0.12,
        "dead_letters": 0,
        "storing_delay_seconds": 0.18,
        "storing_problem": None,
        "refused_today": 3,
        **ready(),
    }


QUEUE_AWAY = (
    "The queue does not answer. Whether anything was accepted is not known: "
    "send it again with the same Idempotency-Key."
)

CAME_BEFORE = "A lead with this e-mail address or telephone number came before."

# Examples by name, for each error status.
REFUSALS: dict[str, dict[str, dict[str, Any]]] = {
    "400": {
        "fields": error(400, "Validation failed", errors=ERRORS_EXAMPLE),
        "additional_data": error(400, "Validation failed", errors=SCHEMA_ERRORS_EXAMPLE),
        "json": error(
            400,
            "Validation failed",
            errors={"body": ["The body is not valid JSON: unexpected character: line 1 column 1."]},
        ),
        "parameter": error(
            400, "Validation failed", errors={"limit": ["This value should be a whole number from 1 to 100."]}
        ),
    },
    "401": {
        "missing": error(401, "JWT Token not found"),
        "expired": error(401, "Expired JWT Token"),
        "credentials": error(401, "Invalid credentials"),
    },
    "403": {
        "invalid": error(403, "Invalid JWT Token"),
        "api_key": error(403, "Invalid API key"),
        "role_of_key": error(403, "This API key may not do that."),
    },
    "404": {"lead": error(404, "There is no lead with this id.")},
    "405": {"method": error(405, "Method Not Allowed")},
    "406": {"accept": error(406, "This service answers in application/json only.")},
    "408": {"slow": error(408, "The body took too long to arrive.")},
    "409": {
        "key": error(409, "This Idempotency-Key was used with another body."),
        "duplicate": error(409, CAME_BEFORE, errors={"duplicateOf": [FIRST_LEAD_EXAMPLE]}),
        "duplicates": error(
            409, CAME_BEFORE, errors={f"{index}.duplicateOf": [FIRST_LEAD_EXAMPLE] for index in range(2)}
        ),
    },
    "413": {"large": error(413, "The body is over 1048576 bytes.")},
    "415": {"type": error(415, "The Content-Type must be application/json.")},
    "429": {
        "limit": error(429, "Rate limit exceeded", retry_after=17),
        "log_ins": error(429, "Too many failed log-ins", retry_after=4),
        "bulk": error(429, "Bulk limit exceeded", retry_after=17),
        "source_rate": error(
            429,
            f"The rate of source {SOURCE_EXAMPLE} is 600 leads a minute: 12 more until 2026-11-22T09:42:00Z",
            retry_after=53,
        ),
        "source_cap": error(
            429,
            f"The daily cap of source {SOURCE_EXAMPLE} is 50000 leads a day: 0 more until 2026-11-23T00:00:00Z",
            retry_after=51533,
        ),
    },
    "500": {"defect": error(500, f"Internal error. Please name request {ID_EXAMPLE} when you report it.")},
    "503": {
        "full": error(503, "The queue is full. Nothing was accepted.", retry_after=RETRY_FULL),
        "queue": error(503, QUEUE_AWAY, retry_after=RETRY_AWAY),
        "database": error(503, "The database does not answer.", retry_after=RETRY_AWAY),
        "keys": error(503, "The database does not answer: no API key is known yet.", retry_after=RETRY_AWAY),
        "own_schema": error(
            503, "The schema of this source cannot be used. Nothing was accepted.", retry_after=RETRY_REPAIRED
        ),
    },
}
