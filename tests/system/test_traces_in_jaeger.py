"""The trace of one lead, from its POST to its row, as Jaeger's API tells it."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.databases import MySQLServer
from tests.kit.jaeger import JaegerServer
from tests.kit.leads import a_lead
from tests.kit.servers import RedisServer, until
from tests.kit.service import Service

ORDER = ["POST /api/leads", "flush leads:stream", "store lead", "batch leads:stream", "INSERT leads"]


@pytest.fixture(scope="module")
def jaeger() -> Iterator[JaegerServer]:
    with JaegerServer() as server:
        yield server


def parent_of(span: dict[str, Any]) -> str:
    """Return the id of the span's parent, which Jaeger tells as a reference of this kind."""
    [parent] = [each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"]
    return str(parent)


def tags_of(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in span["tags"]}


def test_the_trace_of_a_lead_leads_from_its_post_to_its_row(
    tmp_path: Path,
    jaeger: JaegerServer,
    mysql_server: MySQLServer,
    redis_with_mysql: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
):
    # Given the service on MySQL and Redis, which sends its spans to Jaeger
    database = mysql_server.create_database(tls=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    settings = {"traces_url": jaeger.url, "redis_url": redis_with_mysql.url, "database_url": database}
    with Service(tmp_path, **settings) as service:
        # When a sender with a trace of its own sends a lead, and it is stored
        trace, sender = secrets.token_hex(16), secrets.token_hex(8)
        answer = service.post("/api/leads", a_lead(), traceparent=f"00-{trace}-{sender}-01")
        lead = answer.json()["data"]["id"]
        service.wait_until_stored(lead)

        # Then Jaeger finds the trace by the lead's id, as a person would
        [found] = until(lambda: jaeger.find("lead-ingest-worker", **{"lead.id": lead}), 30, 0.1)
        assert found["traceID"] == trace
        # And it has all spans, each below the one that it belongs to
        spans = jaeger.spans(trace, len(ORDER))
    assert sorted(spans) == sorted(ORDER)
    post, flush, store, batch, insert = (spans[name] for name in ORDER)
    assert [parent_of(each) for each in (post, flush, store, batch, insert)] == [
        sender,
        post["spanID"],
        post["spanID"],
        store["spanID"],
        batch["spanID"],
    ]
    assert {each["service"] for each in (post, flush)} == {"lead-ingest-api"}
    assert {each["service"] for each in (store, batch, insert)} == {"lead-ingest-worker"}
    # And the batch is linked to the request
    links = [(each["traceID"], each["spanID"]) for each in batch["references"] if each["refType"] == "FOLLOWS_FROM"]
    assert links == [(trace, post["spanID"])]
    assert tags_of(post)["http.response.status_code"] == 202
    assert (tags_of(insert)["db.system.name"], tags_of(insert)["db.operation.batch.size"]) == ("mysql", 1)
    assert not any("error" in tags_of(each) for each in spans.values())
