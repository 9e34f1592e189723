"""Traces: a lead's way from its POST to its row, as a receiver of OTLP is sent it."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest

from tests.kit.leads import a_lead
from tests.kit.servers import until
from tests.kit.service import PASSWORD, Service
from tests.kit.traces import Span, TraceReceiver

from .traced_leads import BATCH, BULK, FLUSH, INSERT, OFTEN, POST, STORE, a_parent, exporting, send


@pytest.fixture(scope="module")
def receiver() -> Iterator[TraceReceiver]:
    with TraceReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, receiver: TraceReceiver) -> Iterator[Service]:
    """A service that sends its spans to the receiver."""
    directory = tmp_path_factory.mktemp("traced")
    settings = {"traces_url": receiver.url, "http_workers": 2, "claim_after": 1}
    with exporting(OFTEN), Service(directory, **settings) as service:
        yield service


def test_one_trace_leads_from_the_post_to_the_row(traced: Service, receiver: TraceReceiver):
    # Given a sender with a trace of its own
    trace, sender, traceparent = a_parent()

    # When it sends a lead
    lead = send(traced, traceparent, tracestate="vendor=opaque", X_Request_Id="a-request")
    traced.wait_until_stored(lead)

    # Then its trace has the spans of all that was done
    spans = receiver.wait_for(trace, POST, FLUSH, STORE, BATCH, INSERT)
    post, flush, store, batch, insert = (spans.pop(name) for name in (POST, FLUSH, STORE, BATCH, INSERT))
    assert spans == {}
    assert [each.parent for each in (post, flush, store, batch, insert)] == [
        sender,
        post.id,
        post.id,
        store.id,
        batch.id,
    ]
    assert [each.service for each in (post, flush, store, batch, insert)] == [
        *["lead-ingest-api"] * 2,
        *["lead-ingest-worker"] * 3,
    ]
    assert [each.kind for each in (post, flush, store, batch, insert)] == [
        "SERVER",
        "CLIENT",
        "CONSUMER",
        "INTERNAL",
        "CLIENT",
    ]
    assert (flush.links, batch.links) == ((), (post.place,))
    assert {each.state for each in (post, flush, store, batch, insert)} == {"vendor=opaque"}
    assert not any(each.failed for each in (post, flush, store, batch, insert))
    # And they say what a lead is found by
    assert post.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/leads",
        "http.response.status_code": 202,
        "url.scheme": "http",
        "request.id": "a-request",
    }
    assert store.attributes["lead.id"] == lead
    assert (insert.attributes["db.system.name"], insert.attributes["db.operation.batch.size"]) == ("sqlite", 1)
    # And lie within each other
    assert post.began <= flush.began <= flush.ended <= post.ended
    assert store.began <= batch.began <= insert.began <= insert.ended <= store.ended


def test_requests_that_share_a_flush_and_a_batch_are_linked_to_them(traced: Service, receiver: TraceReceiver):
    # Given many that send at once
    parents = [a_parent() for _ in range(60)]
    token = traced.token()

    with ThreadPoolExecutor(20) as pool, httpx.Client(base_url=traced.base_url, timeout=20) as client:

        def one(traceparent: str) -> str:
            headers = {**traced.headers(token), "traceparent": traceparent}
            answer = client.post("/api/leads", json=a_lead(), headers=headers)
            assert answer.status_code == 202
            return str(answer.json()["data"]["id"])

        leads = list(pool.map(one, [header for *_, header in parents]))
    traced.wait_until_stored(*leads)
    traces = {trace for trace, *_ in parents}

    # Then each trace has its request and its lead's way
    def all_there() -> bool:
        found = receiver.by_trace()
        return all({POST, STORE} <= {span.name for span in found[trace]} for trace in traces)

    until(all_there, 20, 0.05)
    spans = [span for span in receiver.spans if span.trace in traces]
    posts, stores = (by_trace(spans, name) for name in (POST, STORE))
    assert posts.keys() == stores.keys() == traces
    assert {store.attributes["lead.id"] for store in stores.values()} == set(leads)
    assert [stores[trace].parent for trace in traces] == [posts[trace].id for trace in traces]
    # And a flush is below the first of its requests, and linked with the others
    flushes = [span for span in spans if span.name == FLUSH]
    sent = {post.place: post for post in posts.values()}
    served = [(flush.trace, flush.parent) for flush in flushes] + [link for flush in flushes for link in flush.links]
    assert sorted(served) == sorted(sent)
    assert len(flushes) < 60
    assert all(sent[link].links == (flush.place,) for flush in flushes for link in flush.links)
    # And a batch is linked to all of its requests, in whose traces are links to it, or it is itself
    batches = [span for span in spans if span.name == BATCH]
    assert sorted(link for batch in batches for link in batch.links) == sorted(sent)
    for batch in batches:
        first, *others = (stores[trace] for trace, _ in batch.links)
        assert batch.parent == first.id
        assert {other.links for other in others} <= {(batch.place,)}


def by_trace(spans: list[Span], name: str) -> dict[str, Span]:
    return {span.trace: span for span in spans if span.name == name}


def test_a_bulk_is_one_span_in_the_batch_that_stores_it(traced: Service, receiver: TraceReceiver):
    trace, _, traceparent = a_parent()

    answer = traced.post("/api/leads/bulk", [a_lead() for _ in range(150)], traceparent=traceparent)
    ids = [result["id"] for result in answer.json()["data"]["results"]]
    traced.wait_until_stored(*ids)

    spans = receiver.wait_for(trace, BULK, "store leads", BATCH, INSERT)
    assert spans["store leads"].attributes["messaging.batch.message_count"] == 150
    assert spans["store leads"].attributes["lead.ids"] == ids[:100]
    assert spans[BATCH].links == (spans[BULK].place,)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "00-00000000000000000000000000000000-1234567890abcdef-01",
        "00-1234567890abcdef1234567890abcdef-0000000000000000-01",
        "00-1234567890abcdef1234567890abcdef-1234567890abcdef",
        "00-1234567890ABCDEF1234567890ABCDEF-1234567890ABCDEF-01",
        "ff-1234567890abcdef1234567890abcdef-1234567890abcdef-01",
        "00-1234567890abcdef1234567890abcdef-1234567890abcdef-01-more",
        "00-1234567890abcdef1234567890abcdef-1234567890abcdef-01,00-1234567890abcdef1234567890abcdef-1234567890abcdef-01",
    ],
)
def test_a_malformed_traceparent_begins_a_new_trace(traced: Service, receiver: TraceReceiver, header: str):
    lead = send(traced, header, tracestate="vendor=opaque")

    until(lambda: [span for span in receiver.spans if span.attributes.get("lead.id") == lead], 20, 0.05)
    [store] = [span for span in receiver.spans if span.attributes.get("lead.id") == lead]
    post = receiver.wait_for(store.trace, POST)[POST]
    assert (post.parent, post.state) == ("", "")
    assert store.parent == post.id
    assert not {"12345678", "00000000"} & {store.trace[:8]}


def test_what_its_sender_does_not_sample_is_not_traced(traced: Service, receiver: TraceReceiver):
    not_sampled, _, header = a_parent(sampled=False)
    lead = send(traced, header)
    sampled, _, later = a_parent()
    traced.wait_until_stored(lead, send(traced, later))

    receiver.wait_for(sampled, POST, FLUSH, STORE)

    assert not_sampled not in receiver.by_trace()
    assert lead not in {span.attributes.get("lead.id") for span in receiver.spans}


def test_a_request_that_is_refused_is_a_span_without_a_way(traced: Service, receiver: TraceReceiver):
    trace, _, traceparent = a_parent()

    assert traced.post("/api/leads", {"firstName": ""}, traceparent=traceparent).status_code == 400

    spans = receiver.wait_for(trace, POST)
    assert spans.keys() == {POST}
    assert spans[POST].attributes["http.response.status_code"] == 400
    # The client's errors are none of the server (OpenTelemetry's conventions for HTTP).
    assert not spans[POST].failed


def test_nothing_personal_is_exported(traced: Service, receiver: TraceReceiver):
    # Given a lead whose every value is like no other, in a table that is not there
    consent = {"url": "https://cert.trustedform.com/f00dfeedc0ffee", "ip": "203.0.113.77", "userAgent": "Xylomobile/9"}
    lead = a_lead(
        firstName="Quetzalina",
        lastName="Zyzzyvas",
        email="quetzalina.zyzzyvas@wombat.example",
        phone="+4915799988877",
        dateOfBirth="1937-03-19",
        additionalData={"plumbus": "grumbo-fleeb"},
        consent=consent,
    )
    trace, _, traceparent = a_parent()
    with renamed_table(traced):
        lead_id = send(
            traced,
            traceparent,
            lead,
            Idempotency_Key="kumquat-key",
            User_Agent="Snarkbrowser/7",
            X_Forwarded_For="198.51.100.23",
            baggage="customer=jabberwock",
        )
        # When it fails to be stored, with an error that quotes it, and then is stored
        until(lambda: [each for each in of_lead(receiver, trace) if each.name == INSERT and each.failed], 20, 0.05)
    traced.wait_until_stored(lead_id)
    # And when somebody asks for it, and for what is not there, and logs in wrongly
    query = {"email": "quetzalina.zyzzyvas@wombat.example", "phone": "+4915799988877"}
    assert traced.get("/api/leads", params=query).status_code == 200
    assert traced.get("/api/quetzalina.zyzzyvas@wombat.example").status_code == 404
    traced.post("/api/login_check", {"email": "wombat-admin@example.com", "password": "hunter222222"}, token=None)
    traced.token()
    done, _, header = a_parent()
    traced.get("/api/leads/stats?from=2026-01-01&to=2026-01-02&interval=day", headers={"traceparent": header})
    receiver.wait_for(done, "GET /api/leads/stats")
    until(lambda: [each for each in of_lead(receiver, trace) if each.name == STORE and not each.failed], 20, 0.05)

    # Then all that was exported holds nothing of it
    exported = b"\n".join(receiver.received).lower()
    assert lead_id.encode() in exported
    words = [
        "quetzalina",
        "zyzzyvas",
        "wombat",
        "15799988877",
        "1937-03-19",
        "plumbus",
        "grumbo",
        "f00dfeed",
        "xylomobile",
    ]
    words += [
        "203.0.113.77",
        "kumquat",
        "snarkbrowser",
        "198.51.100.23",
        "jabberwock",
        "hunter2",
        PASSWORD,
        "127.0.0.1",
    ]
    words += ["test@example.com", traced.token()[-40:]]
    assert [word for word in words if word.lower().encode() in exported] == []
    # And a failure is named by its class alone
    [failed, *_] = [each for each in of_lead(receiver, trace) if each.name == INSERT and each.failed]
    assert failed.attributes["error.type"] == "OperationalError"


def of_lead(receiver: TraceReceiver, trace: str) -> list[Span]:
    return [span for span in receiver.spans if span.trace == trace]


@contextmanager
def renamed_table(service: Service) -> Iterator[None]:
    """Let no lead be stored while the block lasts, by an error that quotes it."""
    with closing(sqlite3.connect(service.data / "leads.db", timeout=20, isolation_level=None)) as database:
        database.execute("ALTER TABLE leads RENAME TO put_away")
        try:
            yield
        finally:
            database.execute("ALTER TABLE put_away RENAME TO leads")
