"""The endpoints of leads in the document."""

import json

from apispec import APISpec

from ingest_api.http.body import NDJSON
from ingest_api.http.items import BULK_MAX, NESTED_MAX, SPELLED_OUT_MAX
from ingest_api.openapi import examples
from ingest_api.openapi.changes import add_changes
from ingest_api.openapi.dead_letters import add_dead_letters
from ingest_api.openapi.examples import BROKEN, LEAD_EXAMPLE, OTHER, success
from ingest_api.openapi.parts import (
    COUNT,
    ERRORS,
    ID,
    NO_STORE,
    TOKEN_OR_KEY,
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
    with_examples,
)
from ingest_api.openapi.stats import add_stats
from ingest_api.parameters.export import CSV, ExportQuerySchema
from ingest_api.parameters.lists import ListQuerySchema
from schema.database.idempotency import IDEMPOTENCY_KEY
from schema.runtime.trace_headers import TRACEPARENT

WITHIN_LIMITS = "A request repeated under its Idempotency-Key does not count again."

OF_A_SCHEMA = (
    "A source may have a JSON Schema for `additionalData`: what does not fit it is an error with its path, as "
    "`additionalData.items.2.price`, and `additionalData` that is left out is checked as an empty object."
)

OF_DUPLICATES = (
    "A duplicate has `duplicateOf`, the id of the first lead with its address or its number, the earlier of two. "
    "What only the database remembers is marked when the lead is stored, not yet in the 202. A source may have "
    "duplicates refused"
)

REFUSED_LOGIN = "Wrong address or password, or no such user: the answer is the same."

LIST_HEADERS = {
    "ETag": {"description": "The page at the data's version, for If-None-Match", "schema": {"type": "string"}},
    "Link": {
        "description": "first, prev, next, last: RFC 8288; at most 2 KiB, beyond which relations are left out",
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "Whether the page may be shown again without asking",
        "schema": {"type": "string"},
        "example": "private, no-cache",
    },
}


def add_paths(spec: APISpec) -> None:
    """Add every endpoint under /api that accepts or returns leads."""
    lead = ref("Lead")
    spec.path(
        "/api/login_check",
        operations={
            "post": {
                "summary": "Log in",
                "description": "After too many failures for one account, or from one address, the answer is 429 for a "
                "growing time, for the right password too.",
                "operationId": "login",
                "tags": ["Log-in"],
                "requestBody": {
                    "required": True,
                    "content": as_json(ref("Credentials"), test_user=examples.CREDENTIALS_EXAMPLE),
                },
                "responses": {
                    "200": response("A token", object_of({"token": {"type": "string"}}), examples.TOKEN, NO_STORE),
                    **refused("401", "503", *WITH_BODY),
                    "401": {
                        "description": REFUSED_LOGIN,
                        "headers": {**common_headers(), "WWW-Authenticate": ref("WWW-Authenticate", "headers")},
                        "content": as_json(ref("Error"), credentials=examples.REFUSALS["401"]["credentials"]),
                    },
                },
            }
        },
    )
    spec.path(
        "/api/leads",
        operations={
            "post": {
                "summary": "Send a lead",
                "description": f"The lead of a source counts against its rate and its daily cap. {WITHIN_LIMITS} "
                f"{OF_A_SCHEMA} {OF_DUPLICATES}: they are answered with 409, and count nowhere.",
                "operationId": "postLead",
                "tags": ["Leads"],
                "security": TOKEN_OR_KEY,
                "parameters": [IDEMPOTENCY_KEY, TRACEPARENT],
                "requestBody": {
                    "required": True,
                    "content": as_json(ref("LeadInput"), least=LEAD_EXAMPLE, with_additional_data=OTHER),
                },
                "responses": {
                    "202": response(
                        "Durable in the queue",
                        envelope(202, lead),
                        success(202, "Lead accepted", examples.lead("queued")),
                        {"Location": ref("Location", "headers"), **NO_STORE},
                        duplicate=success(
                            202,
                            "Lead accepted",
                            {**examples.lead("queued"), "duplicateOf": examples.FIRST_LEAD_EXAMPLE},
                        ),
                    ),
                    **refused("409", "503", *WITH_TOKEN, *WITH_BODY),
                },
            },
            "get": {
                "summary": "List stored leads",
                "description": "To an API key these are the leads of its own source.",
                "operationId": "listLeads",
                "tags": ["Leads"],
                "security": TOKEN_OR_KEY,
                "parameters": [{"in": "query", "schema": ListQuerySchema}],
                "responses": {
                    "200": response(
                        "A page", envelope(200, page_of(lead)), success(200, "Leads", examples.page()), LIST_HEADERS
                    ),
                    "304": {"description": "Nothing was stored since", "headers": {**common_headers(), **LIST_HEADERS}},
                    **refused("400", "503", *WITH_TOKEN),
                },
            },
        },
    )
    _add_export(spec)
    add_changes(spec)
    _add_bulk(spec)
    add_stats(spec)
    spec.path(
        "/api/leads/{lead}",
        parameters=[{"in": "path", "name": "lead", "required": True, "schema": ID}],
        operations={
            "get": {
                "summary": "One lead",
                "description": "To an API key the leads of others are not there: 404.",
                "operationId": "getLead",
                "tags": ["Leads"],
                "security": TOKEN_OR_KEY,
                "responses": {
                    "200": response(
                        "The lead", envelope(200, lead), success(200, "Lead", examples.lead("stored")), NO_STORE
                    ),
                    **refused("404", "503", *WITH_TOKEN),
                },
            }
        },
    )
    add_dead_letters(spec)


def _add_bulk(spec: APISpec) -> None:
    # One valid lead is enough for a 202; other items are rejected one by one.
    anything = {"description": "Anything else is rejected, with its errors"}
    leads = {
        "type": "array",
        "items": {"anyOf": [ref("LeadInput"), anything]},
        "contains": ref("LeadInput"),
        "minItems": 1,
        "maxItems": BULK_MAX,
    }
    first = {**ID, "description": "The first lead of its person, when this one is a duplicate; else left out"}
    result = object_of({"index": COUNT, "id": ID, "duplicateOf": first, "errors": ERRORS}, "index")
    data = {"accepted": COUNT, "rejected": COUNT, "results": {"type": "array", "items": result, "maxItems": BULK_MAX}}
    lines = "".join(f"    {json.dumps(each)}\n" for each in (LEAD_EXAMPLE, OTHER))
    spec.path(
        "/api/leads/bulk",
        operations={
            "post": {
                "summary": f"Send up to {BULK_MAX} leads",
                "description": "Each lead is checked by itself: the answer has a result for each, by its index. "
                "The valid ones are accepted, all of them or none; when none is valid the answer is 400. "
                f"The errors of {SPELLED_OUT_MAX} leads are spelled out; further ones are only said to have some. "
                f"An array may hold {NESTED_MAX} objects and arrays. A process works on a few bulk requests at once "
                "and answers 503 to those beyond. The valid leads of a source count against its rate and its daily "
                f"cap: when they do not all fit, none is accepted, and more than ever fit are a 400. {WITHIN_LIMITS} "
                f"{OF_A_SCHEMA} {OF_DUPLICATES}: each is rejected with the error `duplicateOf`; when all valid ones "
                "are, the answer is 409.",
                "operationId": "postLeads",
                "tags": ["Leads"],
                "security": TOKEN_OR_KEY,
                "parameters": [IDEMPOTENCY_KEY, TRACEPARENT],
                "requestBody": {
                    "required": True,
                    "content": {
                        **as_json(leads, all_valid=[LEAD_EXAMPLE, OTHER], one_broken=[LEAD_EXAMPLE, BROKEN]),
                        # In the description, not as an example: tools show examples as JSON, in quotes.
                        NDJSON: {"schema": {"type": "string", "description": f"A lead on each line:\n\n{lines}"}},
                    },
                },
                "responses": {
                    "202": response(
                        "The valid ones are durable in the queue",
                        envelope(202, object_of(data)),
                        success(202, "Leads accepted", examples.bulk()),
                        duplicate=success(202, "Leads accepted", examples.bulk_with_duplicates()),
                        refused=success(202, "Leads accepted", examples.bulk_with_refused()),
                    ),
                    **refused("409", "503", *WITH_TOKEN, *WITH_BODY),
                },
            }
        },
    )


def _add_export(spec: APISpec) -> None:
    spec.path(
        "/api/leads/export",
        operations={
            "get": {
                "summary": "Export stored leads",
                "description": "Streams all leads of a filter in the order of creation, those stored before the "
                "request. Needs the role `export`. To an API key these are the leads of its own source. "
                "In CSV, a text that a spreadsheet would take for a formula gets an apostrophe before it. "
                "A user or source has one export at a time (429 beyond), and a process sends a few at once (503 "
                "beyond).",
                "operationId": "exportLeads",
                "tags": ["Leads"],
                "security": TOKEN_OR_KEY,
                "parameters": [{"in": "query", "schema": ExportQuerySchema}],
                "responses": {
                    "200": {
                        "description": "The leads, one a line",
                        "headers": common_headers(),
                        "content": {
                            kind: with_examples({"schema": {"type": "string"}}, {"one": example})
                            for kind, example in ((CSV, examples.CSV_LINES), (NDJSON, examples.NDJSON_LINES))
                        },
                    },
                    **refused("400", "503", *WITH_TOKEN),
                },
            }
        },
    )
