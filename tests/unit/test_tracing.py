"""Traces: settings, the context that an entry carries, the export, and nothing of them where they are off."""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs

from schema import settings as settings_module
from schema.queue import entries
from schema.runtime import tracing
from schema.settings import SettingsError

PARENT = "00-1234567890abcdef1234567890abcdef-fedcba0987654321-01"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector.example/", "https://collector.example/v1/traces"),
        ("http://[::1]:4318/otlp/v1/traces", "http://[::1]:4318/otlp/v1/traces"),
    ],
)
def test_a_url_without_a_path_gets_that_of_otlp(monkeypatch: pytest.MonkeyPatch, url: str, endpoint: str):
    monkeypatch.setenv("LEADS_TRACES_URL", url)

    assert settings_module.load().traces_endpoint == endpoint


@pytest.mark.parametrize(
    "url",
    [
        "collector:4318",
        "grpc://collector:4317",
        "http://",
        "http://collector:port",
        "http://collector:99999",
        "http://[::1",
        "http://user:secret@collector:4318",
        "http://collector:4318/v1/traces?key=secret",
    ],
)
def test_a_wrong_url_stops_the_start_and_is_not_quoted(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("LEADS_TRACES_URL", url)

    with pytest.raises(SettingsError, match="LEADS_TRACES_URL") as raised:
        settings_module.load()

    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "some"])
def test_a_ratio_is_from_0_to_1(monkeypatch: pytest.MonkeyPatch, ratio: str):
    monkeypatch.setenv("LEADS_TRACES_RATIO", ratio)

    with pytest.raises(SettingsError, match="LEADS_TRACES_RATIO"):
        settings_module.load()


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "must be a number above 0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "must be a number above 0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1.5", "must be a number above 0"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2049", "must not be above OTEL_BSP_MAX_QUEUE_SIZE"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "must be a number above 0"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "", "must be a number above 0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "must be gzip, deflate or none"),
    ],
)
def test_a_wrong_variable_of_the_sdk_stops_the_start_where_there_are_traces(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, wrong: str
):
    monkeypatch.setenv(name, value)
    settings_module.load()
    monkeypatch.setenv("LEADS_TRACES_URL", "http://collector:4318")

    with pytest.raises(SettingsError, match=f"^{name}: {wrong}$"):
        settings_module.load()


def test_right_variables_of_the_sdk_are_let_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LEADS_TRACES_URL", "http://collector:4318")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2.5")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")

    assert settings_module.load().traces_url


@pytest.mark.parametrize("state", ["", "vendor=opaque", "a=1,b=2"])
def test_what_an_entry_carries_leads_back_to_the_span(state: str):
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("x", tracing.context_of(PARENT, state))

    context = tracing.carried(tracing.carrier_of(span).encode())

    assert context is not None
    found, given = trace.get_current_span(context).get_span_context(), span.get_span_context()
    assert (found.trace_id, found.span_id, found.trace_flags) == (given.trace_id, given.span_id, given.trace_flags)
    assert found.trace_state == given.trace_state
    assert ",".join(f"{key}={value}" for key, value in found.trace_state.items()) == state


def test_a_tracestate_that_is_too_long_is_dropped_and_the_parent_kept():
    context = tracing.context_of(PARENT, "a=" + "x" * tracing.TRACESTATE_MAX)

    found = trace.get_current_span(context).get_span_context()
    assert f"{found.trace_id:032x}" == PARENT[3:35]
    assert len(found.trace_state) == 0


@pytest.mark.parametrize(
    "state", ["=", ",,,", "a", "\x00=\x7f", "A=1", ",".join(f"k{number}=v" for number in range(40))]
)
def test_a_malformed_tracestate_harms_nobody(state: str):
    context = tracing.context_of(PARENT, state)

    found = trace.get_current_span(context).get_span_context()
    assert f"{found.trace_id:032x}" == PARENT[3:35]


@pytest.mark.parametrize("fields", [[b"lead", b"{}"], [b"lead", b"{}", b"key", b"00", b"digest", b"x"]])
def test_an_entry_without_a_context_has_none(fields: list[bytes]):
    assert entries.parse_flat(b"1-1", fields).trace == b""


def test_an_entry_tells_its_context():
    entry = entries.parse_flat(b"1-1", [b"lead", b"{}", b"trace", PARENT.encode()])

    assert (entry.payload, entry.trace) == (b"{}", PARENT.encode())


class Answers(SpanExporter):
    """An exporter that answers what it is told."""

    def __init__(self, *answers: bool) -> None:
        self._answers = iter(answers)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if next(self._answers) else SpanExportResult.FAILURE


def test_a_collector_that_is_away_is_one_line_and_one_when_it_is_back():
    exporter = tracing.TellingExporter(Answers(True, False, False, False, True, True))

    with capture_logs() as lines:
        for _ in range(6):
            exporter.export([ReadableSpan("x")] * 10)

    assert [(line["event"], line.get("lost")) for line in lines] == [
        ("traces not exported", None),
        ("traces exported again", 30),
    ]


@pytest.mark.parametrize("module", ["ingest_api.app", "workers.tasks"])
def test_where_they_are_off_nothing_of_them_is_loaded(module: str):
    program = f"import {module}, sys; print('schema.runtime.tracing' in sys.modules, 'google.protobuf' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]
