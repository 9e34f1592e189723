"""Traces by OpenTelemetry."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from marshmallow import ValidationError

from schema.settings.declare import number, setting

# OTLP's path of spans over HTTP, for a URL that has none (OTLP specification, "OTLP/HTTP Request").
TRACES_PATH = "/v1/traces"

# The SDK's own variables that are checked: it replaces a wrong one by its default with a warning, or raises an error.
SDK_NUMBERS = (
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
)
SDK_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
SDK_COMPRESSIONS = ("OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")

# The SDK's defaults, spans (OpenTelemetry specification, "Batch Span Processor").
EXPORT_BATCH_SIZE = 512
SPAN_QUEUE_SIZE = 2048


def check_traces_url(url: str) -> None:
    """Check the URL of an OTLP receiver. Raises ValidationError, which quotes none of it."""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValidationError("must be http://host[:port][/path] or https://host[:port][/path]")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValidationError("must hold no user, query or fragment: OTEL_EXPORTER_OTLP_HEADERS takes credentials")


def check_sdk_variables(environment: Mapping[str, str]) -> None:
    """Check the SDK's own variables. Raises ValueError with a line that names the first wrong one."""
    for name in SDK_NUMBERS:
        if name in environment and not _is_above_0(environment[name], whole=not name.endswith("TIMEOUT")):
            raise ValueError(f"{name}: must be a number above 0")
    batch, queue = (environment.get(f"OTEL_BSP_MAX_{part}_SIZE") for part in ("EXPORT_BATCH", "QUEUE"))
    if int(batch or EXPORT_BATCH_SIZE) > int(queue or SPAN_QUEUE_SIZE):
        raise ValueError("OTEL_BSP_MAX_EXPORT_BATCH_SIZE: must not be above OTEL_BSP_MAX_QUEUE_SIZE")
    for name in SDK_HEADERS:
        # The SDK would log a wrong one with its value, which is a secret.
        parts = [each.partition("=") for each in environment.get(name, "").split(",") if each.strip()]
        if not all(header.strip() and sign for header, sign, _ in parts):
            raise ValueError(f"{name}: must be name=value, and further ones behind a comma")
    for name in SDK_COMPRESSIONS:
        if environment.get(name, "none").strip().lower() not in ("none", "gzip", "deflate"):
            raise ValueError(f"{name}: must be gzip, deflate or none")


def _is_above_0(text: str, *, whole: bool) -> bool:
    try:
        return (int(text) if whole else float(text)) > 0
    except ValueError:
        return False


@dataclass(frozen=True)
class TraceSettings:
    """Traces by OpenTelemetry."""

    traces_url: str = setting(
        "",
        "Where spans are exported to by OTLP over HTTP, such as `http://collector:4318`; a URL without a path gets "
        "`/v1/traces`. Empty: there are no traces. See docs/traces.md.",
        check=check_traces_url,
    )
    traces_ratio: float = number(
        1.0,
        "Share of the requests without a `traceparent` that are traced. One that has it is traced if its sender says "
        "so.",
        unit="share",
        low=0,
        high=1,
        kind="float",
    )

    @property
    def traces_endpoint(self) -> str:
        """The URL to which spans are sent."""
        parts = urlsplit(self.traces_url)
        return parts._replace(path=TRACES_PATH).geturl() if parts.path in ("", "/") else self.traces_url
