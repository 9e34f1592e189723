"""Jaeger with its storage in memory: a real backend of traces, with the API that its pages ask."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.ports import free_port
from tests.kit.servers import Server, find_program, until

# Where tests/install-jaeger puts it.
BUILT = Path(__file__).parents[2] / ".jaeger" / "bin" / "jaeger"


class JaegerServer(Server):
    """Jaeger, which takes spans by OTLP over HTTP and answers questions about them."""

    def __init__(self) -> None:
        super().__init__()
        self._otlp, self._query, self._grpc = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._otlp}"
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self._query}", timeout=20)

    def prepare(self) -> None:
        """Write its configuration. JSON is YAML."""
        at = "127.0.0.1"
        configuration = {
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
            "extensions": {
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 10_000}}}},
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": f"{at}:{self._query}"},
                    "grpc": {"endpoint": f"{at}:{self._grpc}"},
                },
            },
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{at}:{self._otlp}"}}}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        }
        (self.directory / "jaeger.yaml").write_text(json.dumps(configuration))

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground. Without Jaeger, skip the test."""
        found = str(BUILT) if BUILT.exists() else find_program("jaeger")
        if found is None:
            pytest.skip("jaeger is not installed: tests/install-jaeger builds it")
        return [found, "--config", "jaeger.yaml"]

    def answers(self) -> bool:
        """Tell whether both of its sides answer."""
        try:
            return bool(self._client.get("/api/services").is_success and httpx.get(self.url).status_code)
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Kill the process and remove its data."""
        self._client.close()
        super().stop()

    def find(self, service: str, **tags: str) -> list[dict[str, Any]]:
        """Return the traces in which a span of the service has these tags, as its search page finds them."""
        parameters = {"service": service, "tags": json.dumps(tags), "lookback": "1h", "limit": 20}
        return list(self._client.get("/api/traces", params=parameters).json()["data"] or [])

    def spans(self, trace: str, number: int) -> dict[str, dict[str, Any]]:
        """Wait until a trace has so many spans; return them by their names, each with its service under `service`."""

        def found() -> list[dict[str, Any]]:
            answer = self._client.get(f"/api/traces/{trace}")
            data = answer.json()["data"] if answer.is_success else []
            return [
                {**span, "service": each["processes"][span["processID"]]["serviceName"]}
                for each in data
                for span in each["spans"]
            ]

        until(lambda: len(found()) >= number, 30, 0.1)
        return {span["operationName"]: span for span in found()}
