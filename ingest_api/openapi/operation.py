"""The endpoints for operators, and the document itself."""

from typing import Any

from apispec import APISpec

from ingest_api.http.envelope import RETRY_AWAY
from ingest_api.openapi import examples
from ingest_api.openapi.examples import error, success
from ingest_api.openapi.parts import (
    TIME,
    TOKEN_ALONE,
    WITH_TOKEN,
    as_json,
    common_headers,
    envelope,
    failed,
    object_of,
    ref,
    refused,
    response,
    with_examples,
)
from schema import __version__


def add_operation(spec: APISpec) -> None:
    """Add the health checks, the metrics, and the document with its page."""
    alive = object_of({"live": {"type": "boolean"}})
    live = response("It does", envelope(200, alive), success(200, "Alive", {"live": True}))
    _add(spec, "/health/live", "Whether the process answers", "live", {"200": live, **failed()})
    parts = {
        "queue": {"type": "boolean"},
        "database": {"type": "boolean"},
        "ledger": {**_LEDGER, "description": f"{_LEDGER['description']} {_NOT_OUTSIDE}"},
        "servers": {**_SERVERS, "description": f"{_SERVERS['description']} {_NOT_OUTSIDE}"},
    }
    ready = {
        "200": response(
            "They do", envelope(200, object_of(parts, "queue", "database")), success(200, "Ready", examples.ready())
        ),
        **failed("503"),
        "503": {
            "description": "A part is away; `errors` names it.",
            "headers": {**common_headers(), "Retry-After": ref("Retry-After", "headers")},
            "content": as_json(ref("Error"), queue=_NOT_READY),
        },
    }
    _add(
        spec,
        "/health/ready",
        "Whether the queue and the database answer, the ledger, and the servers; at most a second old",
        "ready",
        ready,
    )
    _add_status(spec)
    metrics = _text("text/plain", "In Prometheus's text format", 'leads_ledger{place="stored"} 1990.0\n')
    _add(spec, "/metrics", "Metrics of all API processes", "metrics", {"200": metrics, **failed()})
    document = response("OpenAPI 3.1, without the envelope", {"type": "object"}, {"openapi": "3.1.0"})
    _add(spec, "/api/openapi.json", "This document", "openapi", {"200": document, **refused()})
    links = object_of(
        {"version": {"type": "string"}, "links": {"type": "object", "additionalProperties": {"type": "string"}}}
    )
    example = success(200, "Lead Ingest", {"version": __version__, "links": {"leads": "/api/leads"}})
    root = response("The links", envelope(200, links), example)
    root["content"] |= _text("text/html", "", "<!doctype html>")["content"]
    _add(
        spec, "/", "The page for people where `Accept` prefers HTML, else the links", "root", {"200": root, **failed()}
    )
    page = _text("text/html", "Swagger UI", "<!doctype html>")
    # No 406, because browsers do not ask for JSON.
    _add(spec, "/api/docs", "A page that shows this document", "docs", {"200": page, **failed("429")})


def _add_status(spec: APISpec) -> None:
    seconds = {"type": ["number", "null"], "minimum": 0}
    count = {"type": ["integer", "null"], "minimum": 0}
    state = {
        "time": {**TIME, "description": "When this was read, RFC 3339, UTC, milliseconds"},
        "embedded": {"type": "boolean", "description": "Whether this is the embedded run, for trying it"},
        "queue": {"type": "boolean", "description": "Whether it answers"},
        "database": {"type": "boolean", "description": "Whether it answers"},
        "waiting": {**count, "description": "Leads in the queue, those being stored too"},
        "queue_full": {"type": "boolean", "description": "Whether new leads are answered with 503 for that"},
        "oldest_age_seconds": {**seconds, "description": "Age of the lead that waits longest; 0: none"},
        "dead_letters": count,
        "storing_delay_seconds": {
            **seconds,
            "description": "Time from acceptance to row in the last batch; null: none in a quarter of an hour",
        },
        "storing_problem": {
            "type": ["string", "null"],
            "description": "Why workers could not store the last batch; null while they store",
        },
        "refused_today": {**count, "description": "Leads answered with an error since midnight, UTC"},
        "ledger": {**_LEDGER, "type": ["object", "null"]},
        "servers": _SERVERS,
    }
    operation = {
        "summary": "How the service is (role `read`)",
        "description": "Answers while a part is away too: what cannot be read is null. Some seconds old.",
        "operationId": "status",
        "tags": ["Operation"],
        "security": TOKEN_ALONE,
        "responses": {
            "200": response("The status", envelope(200, object_of(state)), success(200, "Status", examples.status())),
            **refused(*WITH_TOKEN),
        },
    }
    spec.path("/api/status", operations={"get": operation})


_QUEUE_SERVERS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "shard": {"type": "integer"},
            "primary": {"type": "string", "description": "Host and port of the server that has the shard."},
            "replicas": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "address": {"type": "string"},
                        "lag_bytes": {"type": "integer", "description": "What it has not acknowledged yet."},
                    },
                },
            },
            "error": {"type": "string", "description": "The shard is away."},
        },
    },
}

_DATABASE_SERVERS = {
    "type": "object",
    "properties": {
        "primary": {"type": "string", "description": "Host and port of the server that takes the writes."},
        "members": {
            "type": "object",
            "description": "In Group Replication the state of each member, where the account may see it.",
            "additionalProperties": {"type": "string"},
        },
        "replica_lag_seconds": {"type": "number", "description": "How far the replica is behind."},
    },
}

_LEDGER = {
    "type": "object",
    "description": "Leads by where they are; `imbalance` is how many accepted ones are nowhere.",
    "additionalProperties": {"type": "integer"},
}

_SERVERS = {
    "type": "object",
    "description": "What the parts' servers say of themselves: which one is the primary, how far the others are. "
    "A part that says nothing is left out.",
    "properties": {"queue": _QUEUE_SERVERS, "database": _DATABASE_SERVERS},
}

_NOT_OUTSIDE = "Left out for those who come through a proxy."

_NOT_READY = error(503, "Not ready: queue", errors={"queue": ["This part does not answer."]}, retry_after=RETRY_AWAY)


def _add(spec: APISpec, path: str, summary: str, name: str, responses: dict[str, Any]) -> None:
    operation = {"summary": summary, "operationId": name, "tags": ["Operation"], "responses": responses}
    spec.path(path, operations={"get": operation})


def _text(kind: str, description: str, example: str) -> dict[str, Any]:
    content = {kind: with_examples({"schema": {"type": "string"}}, {"example": example})}
    return {"description": description, "headers": common_headers(), "content": content}
