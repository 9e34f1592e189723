"""The trace context of a lead: carried by its entry through dead letters and moves, and what a batch makes of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from ingest_api.intake.append import AppendRequest, NewLead, Verdict
from schema.lead import codec, lead_id
from schema.lead.lead_id import LeadId, new_lead_id
from schema.queue import keys
from schema.queue.dead_letters import DeadLetters
from schema.queue.moving import Moving
from schema.runtime import tracing
from schema.runtime.redis_clients import blocking_shards
from schema.runtime.tracing import RequestSpan
from tests.integration.backends import POISON, Backend, fields_of
from tests.integration.flushes import run, with_key
from tests.integration.workers import Worker
from workers.store.batch_spans import batch_spans


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exported: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    yield provider
    provider.shutdown()


def a_span(provider: TracerProvider, state: str = "") -> RequestSpan:
    """Return the span of a request."""
    parent = tracing.context_of("00-1234567890abcdef1234567890abcdef-1234567890abcdef-01", state)
    span = provider.get_tracer("test").start_span("POST", parent)
    return RequestSpan(span, tracing.carrier_of(span))


def traced(provider: TracerProvider, request: AppendRequest) -> AppendRequest:
    return request._replace(span=a_span(provider))


def append(backend: Backend, provider: TracerProvider, *names: str) -> list[LeadId]:
    """Append leads with these first names, each of a traced request of its own; return their ids."""
    ids = [new_lead_id() for _ in names]
    requests = [
        AppendRequest(leads=(NewLead(each, codec.encode(each, fields_of(firstName=name))),), span=a_span(provider))
        for each, name in zip(ids, names, strict=True)
    ]

    async def submit(line: Any) -> None:
        for request in requests:
            assert (await line.submit(request)).verdict is Verdict.APPENDED

    run(backend, submit)
    return ids


def worker(backend: Backend, provider: TracerProvider) -> Worker:
    """Return a worker that traces."""
    tracer = provider.get_tracer("test")
    return Worker(backend, trace_batch=batch_spans(tracer, backend.engine.dialect.name))


def fields(backend: Backend, key: str) -> list[dict[bytes, bytes]]:
    return [each for _, each in backend.client.xrange(key)]


def named(exported: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exported.get_finished_spans() if span.name == name]


def test_an_entry_carries_the_context_of_a_traced_request_alone(backend: Backend, provider: TracerProvider):
    span = a_span(provider, "vendor=opaque")
    lead = NewLead(new_lead_id(), b"{}")

    async def submit(line: Any) -> None:
        await line.submit(AppendRequest(leads=(lead,)))
        await line.submit(AppendRequest(leads=(NewLead(new_lead_id(), b"{}"),), span=span))
        await line.submit(with_key("a", b"1"))
        await line.submit(with_key("b", b"1")._replace(span=span))

    run(backend, submit)

    plain, traced, keyed, both = fields(backend, keys.STREAM)
    assert span.carrier.startswith("00-1234567890abcdef1234567890abcdef-")
    assert span.carrier.endswith("-01 vendor=opaque")
    assert plain == {b"lead": b"{}"}
    assert traced == {b"lead": b"{}", b"trace": span.carrier.encode()}
    assert keyed.keys() == {b"lead", b"key", b"digest"}
    assert both.keys() == {b"lead", b"key", b"digest", b"trace"}
    assert both[b"trace"] == span.carrier.encode()


def test_a_dead_letter_and_its_replay_carry_it_on(
    backend: Backend, provider: TracerProvider, exported: InMemorySpanExporter
):
    # Given a traced lead that the database refuses
    backend.refuse()
    good, bad = append(backend, provider, "Ada", POISON)
    carriers = {each[b"trace"] for each in fields(backend, keys.STREAM)}

    # When it becomes a dead letter
    assert worker(backend, provider).run()["dead"] == 1

    # Then its own span has failed, without the database's words
    stored = {span.attributes["lead.id"]: span for span in named(exported, "store lead") if span.attributes}
    assert stored[lead_id.to_text(good)].status.status_code is StatusCode.UNSET
    failed = stored[lead_id.to_text(bad)]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description is None
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "dead_letter"
    assert all(not span.events for span in exported.get_finished_spans())
    # And the letter carries the context, as what is replayed does
    [letter] = fields(backend, keys.DEAD)
    assert letter[b"trace"] in carriers
    backend.stop_refusing()
    letters = DeadLetters(backend.shards)
    assert [letters.replay(each) for each in letters] == [True]
    assert fields(backend, keys.STREAM)[0][b"trace"] == letter[b"trace"]
    assert worker(backend, provider).run()["stored"] == 1
    assert [span.parent for span in named(exported, "store lead")][-1] == failed.parent


def test_a_dead_letter_that_moves_to_another_queue_carries_it_on(backend: Backend, provider: TracerProvider):
    # Given a dead letter of a traced lead
    backend.refuse()
    append(backend, provider, POISON, "Ada")
    worker(backend, provider).run()
    [letter] = fields(backend, keys.DEAD)

    # When the queue moves
    settings = backend.with_settings(queue_next_shards=2)
    shards = blocking_shards(settings, timeout=10)
    move = Moving(shards[:1], shards[1:], settings)
    with backend.engine.connect() as connection:
        move.fence(connection)
    assert move.move_dead_letters() == 1

    # Then it is as it was
    moved = [each for shard, _ in shards[1:] for each in fields(backend, shard.name(keys.DEAD))]
    assert moved == [letter]


def test_one_insert_for_each_run_of_the_transaction(
    backend: Backend, provider: TracerProvider, exported: InMemorySpanExporter
):
    append(backend, provider, "Ada", "Grace", "Alan")

    worker(backend, provider).run()

    [insert] = named(exported, "INSERT leads")
    [batch] = named(exported, "batch leads:stream")
    assert insert.parent is not None
    assert batch.context is not None
    assert insert.parent.span_id == batch.context.span_id
    assert insert.attributes is not None
    assert insert.attributes["db.operation.batch.size"] == 3
    assert insert.attributes["db.system.name"] == backend.engine.dialect.name


def test_of_many_links_the_last_are_kept_and_the_others_counted(
    backend: Backend, provider: TracerProvider, exported: InMemorySpanExporter
):
    append(backend, provider, *["Ada"] * 150)

    assert worker(backend, provider).run()["stored"] == 150

    [batch] = named(exported, "batch leads:stream")
    assert (len(batch.links), batch.dropped_links) == (128, 22)
    assert batch.attributes is not None
    assert batch.attributes["batch.traced_requests"] == 150
    # Those that are not among them are linked to it.
    stores = named(exported, "store lead")
    assert len(stores) == 150
    assert sum(bool(span.links) for span in stores) == 149


@pytest.mark.parametrize(
    "carried", [b"", b"nonsense", b"\xff\xfe", b"00-1234567890abcdef1234567890abcdef-1234567890abcdef-00"]
)
def test_a_context_that_is_malformed_or_not_sampled_makes_no_span(
    backend: Backend, provider: TracerProvider, exported: InMemorySpanExporter, carried: bytes
):
    [lead] = backend.accept(1)
    [(name, entry)] = backend.client.xrange(keys.STREAM)
    backend.client.xdel(keys.STREAM, name)
    backend.client.xadd(keys.STREAM, {**entry, b"trace": carried})

    assert worker(backend, provider).run()["stored"] == 1

    assert backend.stored() == {lead}
    assert exported.get_finished_spans() == ()
