"""The statistics in the document."""

from apispec import APISpec

from ingest_api.openapi import examples
from ingest_api.openapi.examples import success
from ingest_api.openapi.parts import (
    COUNT,
    SECOND,
    SOURCE,
    TOKEN_OR_KEY,
    WITH_TOKEN,
    envelope,
    object_of,
    refused,
    response,
)
from ingest_api.parameters.stats import BUCKETS_DEFAULT, BUCKETS_MAX, INTERVALS, StatsQuerySchema


def add_stats(spec: APISpec) -> None:
    """Add the counts of leads over time."""
    numbers = {"accepted": COUNT, "stored": COUNT}
    some = {
        "refused": {
            **COUNT,
            "description": "Leads answered with an error, of all sources; left out where they are no longer kept",
        },
        "duplicates": {**COUNT, "description": "Stored leads that are duplicates; left out with `interval=minute`"},
    }
    bucket = object_of({"time": SECOND, **numbers, **some}, "time", *numbers)
    stats = {
        "interval": {"type": "string", "enum": list(INTERVALS)},
        "from": SECOND,
        "to": SECOND,
        **numbers,
        "items": {"type": "array", "items": bucket, "maxItems": BUCKETS_MAX},
    }
    source = {"source": {**SOURCE, "description": "Whose leads are counted; left out when those of all are"}}
    spec.path(
        "/api/leads/stats",
        operations={
            "get": {
                "summary": "Count leads over time",
                "description": f"At most {BUCKETS_MAX} buckets; without a range the last {BUCKETS_DEFAULT}. "
                "By source, and of duplicates, there are hours and days. To an API key these are the counts of its "
                "own source. Refused leads are counted in the queue's Redis alone, minutes for a day, hours for two "
                "months: for the eye, not to the last one.",
                "operationId": "countLeads",
                "tags": ["Leads"],
                "security": TOKEN_OR_KEY,
                "parameters": [{"in": "query", "schema": StatsQuerySchema}],
                "responses": {
                    "200": response(
                        "Leads by bucket",
                        envelope(200, object_of({**stats, **some, **source}, *stats)),
                        success(200, "Statistics", examples.stats()),
                    ),
                    **refused("400", "503", *WITH_TOKEN),
                },
            }
        },
    )
