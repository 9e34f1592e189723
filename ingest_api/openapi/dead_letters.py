"""The dead letters in the document."""

from apispec import APISpec

from ingest_api.openapi import examples
from ingest_api.openapi.examples import LETTER, success
from ingest_api.openapi.parts import (
    COUNT,
    NO_STORE,
    TIME,
    TOKEN_ALONE,
    WITH_BODY,
    WITH_TOKEN,
    as_json,
    envelope,
    object_of,
    ref,
    refused,
    response,
)
from ingest_api.parameters.dead_letters import REASONS_OF, LettersQuerySchema


def add_dead_letters(spec: APISpec) -> None:
    """Add the list of dead letters, and their replay."""
    letter = object_of(
        {
            "letter": {"type": "string", "description": "The dead letter's name"},
            "reason": {"type": "string"},
            "since": TIME,
            "id": {"type": ["string", "null"], "description": "The lead's id"},
            "lead": {"description": "The lead as it was accepted; null when the entry held none"},
        }
    )
    letters = {
        "items": {"type": "array", "items": letter},
        "total": COUNT,
        "next": {"type": ["string", "null"], "description": "`after` of the next page; null on the last"},
    }
    reasons = {
        "reasons": {
            "type": "object",
            "description": "How many there are of each reason, of the newest; on the first page alone",
            "additionalProperties": COUNT,
        },
        "reasons_of": {**COUNT, "description": f"Of how many that is; at most {REASONS_OF} of each shard"},
    }
    spec.path(
        "/api/dead-letters",
        operations={
            "get": {
                "summary": "List dead letters (role `admin`)",
                "operationId": "listDeadLetters",
                "tags": ["Dead letters"],
                "security": TOKEN_ALONE,
                "parameters": [{"in": "query", "schema": LettersQuerySchema}],
                "responses": {
                    "200": response(
                        "A page, the oldest first",
                        envelope(200, object_of({**letters, **reasons}, *letters)),
                        success(200, "Dead letters", examples.letters()),
                        NO_STORE,
                    ),
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
                "security": TOKEN_ALONE,
                "requestBody": {
                    "required": True,
                    "content": as_json(ref("Replay"), all={"all": True}, one={"letter": LETTER}),
                },
                "responses": {
                    "200": response(
                        "How many went back",
                        envelope(200, object_of({"replayed": COUNT})),
                        success(200, "Replayed", {"replayed": 1}),
                    ),
                    **refused("404", "503", *WITH_TOKEN, *WITH_BODY),
                },
            }
        },
    )
