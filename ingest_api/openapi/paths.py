"""The endpoints, as the document shows them."""

from apispec import APISpec

from ingest_api.accepting import IDEMPOTENCY_KEY
from ingest_api.body import JSON, NDJSON
from ingest_api.list_query import ListQuerySchema
from ingest_api.openapi.parts import (
    COUNT,
    ERRORS,
    ID,
    TIME,
    WITH_BODY,
    WITH_TOKEN,
    as_json,
    common_headers,
    envelope,
    object_of,
    page_of,
    ref,
    refused,
    response,
)
from ingest_api.resources.bulk import BULK_MAX
from ingest_api.resources.dead_letters import LettersQuerySchema
from ingest_api.resources.export import CSV, ExportQuerySchema
from ingest_api.resources.stats import StatsQuerySchema

LIST_HEADERS = {
    "ETag": {"description": "The page at the data's version, for If-None-Match", "schema": {"type": "string"}},
    "Link": {"description": "first, prev, next, last: RFC 8288", "schema": {"type": "string"}},
    "Cache-Control": {"schema": {"type": "string"}, "example": "private, no-cache"},
}


def add_paths(spec: APISpec) -> None:
    """Add every endpoint to the document."""
    lead = ref("Lead")
    spec.path(
        "/api/login_check",
        operations={
            "post": {
                "summary": "Log in",
                "operationId": "login",
                "tags": ["Log-in"],
                "requestBody": {"required": True, "content": as_json(ref("Credentials"))},
                "responses": {
                    "200": response("A token", object_of({"token": {"type": "string"}})),
                    **refused("401", "503", *WITH_BODY),
                },
            }
        },
    )
    key = {
        "in": "header",
        "name": IDEMPOTENCY_KEY,
        "description": "For 24 hours the same user, key and body give the same id and store one lead.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    }
    location = {"Location": {"description": "The lead's own path", "schema": {"type": "string"}}}
    spec.path(
        "/api/leads",
        operations={
            "post": {
                "summary": "Send a lead",
                "operationId": "postLead",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "parameters": [key],
                "requestBody": {"required": True, "content": as_json(ref("LeadInput"))},
                "responses": {
                    "202": response("Durable in the queue", envelope(202, lead), location),
                    **refused("409", "503", *WITH_TOKEN, *WITH_BODY),
                },
            },
            "get": {
                "summary": "List stored leads",
                "operationId": "listLeads",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "parameters": [{"in": "query", "schema": ListQuerySchema}],
                "responses": {
                    "200": response("A page", envelope(200, page_of(lead)), LIST_HEADERS),
                    "304": {"description": "Nothing was stored since", "headers": common_headers()},
                    **refused("400", "503", *WITH_TOKEN),
                },
            },
        },
    )
    spec.path(
        "/api/leads/export",
        operations={
            "get": {
                "summary": "Export stored leads",
                "description": "Streams all leads of a filter in the order of creation, those stored before the "
                "request. In CSV, a text that a spreadsheet would take for a formula gets an apostrophe before it.",
                "operationId": "exportLeads",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "parameters": [{"in": "query", "schema": ExportQuerySchema}],
                "responses": {
                    "200": {
                        "description": "The leads, one a line",
                        "headers": common_headers(),
                        "content": {kind: {"schema": {"type": "string"}} for kind in (CSV, NDJSON)},
                    },
                    **refused("400", "503", *WITH_TOKEN),
                },
            }
        },
    )
    leads = {"type": "array", "items": ref("LeadInput"), "minItems": 1, "maxItems": BULK_MAX}
    result = object_of({"index": COUNT, "id": ID, "errors": ERRORS}, "index")
    spec.path(
        "/api/leads/bulk",
        operations={
            "post": {
                "summary": f"Send up to {BULK_MAX} leads",
                "operationId": "postLeads",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": leads}, NDJSON: {"schema": {"type": "string"}}},
                },
                "responses": {
                    "202": response(
                        "The valid ones are durable in the queue",
                        envelope(
                            202,
                            object_of(
                                {
                                    "accepted": COUNT,
                                    "rejected": COUNT,
                                    "results": {"type": "array", "items": result},
                                }
                            ),
                        ),
                    ),
                    **refused("503", *WITH_TOKEN, *WITH_BODY),
                },
            }
        },
    )
    bucket = object_of({"time": TIME, "accepted": COUNT, "stored": COUNT})
    stats = {
        "interval": {"type": "string"},
        "from": TIME,
        "to": TIME,
        "accepted": COUNT,
        "stored": COUNT,
        "items": {"type": "array", "items": bucket},
    }
    spec.path(
        "/api/leads/stats",
        operations={
            "get": {
                "summary": "Count leads over time",
                "operationId": "countLeads",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "parameters": [{"in": "query", "schema": StatsQuerySchema}],
                "responses": {
                    "200": response("Leads by bucket", envelope(200, object_of(stats))),
                    **refused("400", "503", *WITH_TOKEN),
                },
            }
        },
    )
    spec.path(
        "/api/leads/{lead}",
        parameters=[{"in": "path", "name": "lead", "required": True, "schema": ID}],
        operations={
            "get": {
                "summary": "One lead",
                "operationId": "getLead",
                "tags": ["Leads"],
                "security": [{"token": []}],
                "responses": {
                    "200": response("The lead", envelope(200, lead)),
                    **refused("404", "503", *WITH_TOKEN),
                },
            }
        },
    )
    letter = object_of(
        {
            "letter": {"type": "string", "description": "The dead letter's name"},
            "reason": {"type": "string"},
            "since": {"type": "string", "format": "date-time"},
            "id": {"type": ["string", "null"], "description": "The lead's id"},
            "lead": {"description": "The lead as it was accepted; null when the entry held none"},
        }
    )
    letters = {
        "items": {"type": "array", "items": letter},
        "total": COUNT,
        "next": {"type": ["string", "null"], "description": "`after` of the next page; null on the last"},
    }
    spec.path(
        "/api/dead-letters",
        operations={
            "get": {
                "summary": "List dead letters (role `admin`)",
                "operationId": "listDeadLetters",
                "tags": ["Dead letters"],
                "security": [{"token": []}],
                "parameters": [{"in": "query", "schema": LettersQuerySchema}],
                "responses": {
                    "200": response("A page, the oldest first", envelope(200, object_of(letters))),
                    **refused("400", "503", *WITH_TOKEN),
                },
            }
        },
    )
    spec.path(
        "/api/dead-letters/replay",
        operations={
            "post": {
                "summary": "Put dead letters back into the queue (role `admin`)",
                "operationId": "replayDeadLetters",
                "tags": ["Dead letters"],
                "security": [{"token": []}],
                "requestBody": {"required": True, "content": as_json(ref("Replay"))},
                "responses": {
                    "200": response("How many went back", envelope(200, object_of({"replayed": COUNT}))),
                    **refused("404", "503", *WITH_TOKEN, *WITH_BODY),
                },
            }
        },
    )
    for path, summary, parts in (
        ("/health/live", "Whether the process answers", ("live",)),
        ("/health/ready", "Whether the queue and the database answer", ("queue", "database")),
    ):
        data = object_of({part: {"type": "boolean"} for part in parts})
        if "queue" in parts:
            data["properties"]["ledger"] = {"type": "object", "additionalProperties": {"type": "integer"}}
        spec.path(
            path,
            operations={
                "get": {
                    "summary": summary,
                    "operationId": path.rpartition("/")[2],
                    "tags": ["Operation"],
                    "responses": {"200": response("Yes", envelope(200, data)), **refused("503")},
                }
            },
        )
