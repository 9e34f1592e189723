"""The endpoint of changes in the document."""

from apispec import APISpec

from ingest_api.http.body import NDJSON
from ingest_api.openapi import examples
from ingest_api.openapi.examples import success
from ingest_api.openapi.parts import (
    NO_STORE,
    TOKEN_OR_KEY,
    WITH_TOKEN,
    as_json,
    common_headers,
    envelope,
    object_of,
    ref,
    refused,
    with_examples,
)
from ingest_api.parameters.changes import CHANGES_MAX, ChangesQuerySchema

CURSOR = {"type": "string", "description": "`after` of the next request; keep it for as long as you like"}


def add_changes(spec: APISpec) -> None:
    """Add GET /api/leads/changes."""
    headers = {
        **common_headers(),
        **NO_STORE,
        "X-Next-Cursor": {"description": "`next_cursor`, for NDJSON", "schema": {"type": "string"}},
        "Link": {"description": "next: RFC 8288, with the cursor", "schema": {"type": "string"}},
    }
    items = {"type": "array", "items": ref("Lead"), "maxItems": CHANGES_MAX}
    data = envelope(200, object_of({"items": items, "next_cursor": CURSOR}))
    spec.path(
        "/api/leads/changes",
        operations={
            "get": {
                "summary": "Follow what is stored",
                "description": "Stored leads in the order in which they were stored, each once and none left out, "
                "also those that arrived late. Without `after` they come from the very beginning. `next_cursor` is "
                "always there, and stays good for ever. Of one source an answer may be short or empty, with a cursor "
                "that has moved on. To an API key these are the leads of its own source. While many requests of a "
                "process wait, and until an upgrade from release 0.1 is finished, the answer is 503.",
                "operationId": "followLeads",
                "tags": ["Leads"],
                "security": TOKEN_OR_KEY,
                "parameters": [{"in": "query", "schema": ChangesQuerySchema}],
                "responses": {
                    "200": {
                        "description": "The next leads",
                        "headers": headers,
                        "content": {
                            **as_json(data, example=success(200, "Changes", examples.changes())),
                            NDJSON: with_examples({"schema": {"type": "string"}}, {"one": examples.NDJSON_LINES}),
                        },
                    },
                    **refused("400", "503", *WITH_TOKEN),
                },
            }
        },
    )
