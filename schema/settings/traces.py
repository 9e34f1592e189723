"""Traces by OpenTelemetry."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from marshmallow import ValidationError

from schema.settings.declare import number, setting

# OTLP's path of spans over HTTP, for a URL that has none (OTLP specification, "OTLP/HTTP Request").
TRACES_PATH = "/v1/traces"

# The SDK's own variables of numbers. It replaces a wrong one by its default without a word, or fails later.
SDK_NUMBERS = (
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
)


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


def wrong_sdk_number() -> str:
    """Return the name of the first of SDK_NUMBERS in the environment that is no number above 0; "" when all are."""
    for name in SDK_NUMBERS:
        text = os.environ.get(name, "")
        if name not in os.environ:
            continue
        try:
            is_right = float(text) > 0 and (name.endswith("TIMEOUT") or text.strip().isdecimal())
        except ValueError:
            is_right = False
        if not is_right:
            return name
    return ""


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
