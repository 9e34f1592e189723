"""`python -m compose.helm.settings_schema`: writes the types of settings into the chart's values.schema.json."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from marshmallow.validate import OneOf, Range

from schema.settings import Settings, variable

FILE = Path(__file__).parent / "lead-ingest" / "values.schema.json"

# Paths, addresses and ports within a container: the chart's own.
INSIDE = {
    "data_dir",
    "http_host",
    "http_port",
    "flower_host",
    "flower_port",
    "flower_database",
    "worker_metrics_host",
    "worker_metrics_port",
    "jwt_private_key",
    "jwt_public_key",
}


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of an object of settings by their variables."""
    fields = (each for each in dataclasses.fields(Settings) if each.name not in INSIDE)
    properties = {variable(each.name): _schema_of(each.metadata["kind"], each.metadata["check"]) for each in fields}
    return {"type": "object", "additionalProperties": False, "properties": dict(sorted(properties.items()))}


def _schema_of(kind: str, check: object) -> dict[str, Any]:
    if isinstance(check, OneOf):
        return {"enum": list(check.choices)}
    if kind in ("int", "float") and isinstance(check, Range):
        bounds = {"minimum": check.min, "maximum": check.max}
        number = {"type": "integer" if kind == "int" else "number"}
        number |= {name: bound for name, bound in bounds.items() if bound is not None}
        # Quoted, as in an environment; the process itself checks its bounds then.
        text = {"type": "string", "pattern": r"^[0-9]+$" if kind == "int" else r"^[0-9]*\.?[0-9]+$"}
        return {"anyOf": [number, text]}
    if kind == "bool":
        return {"type": ["boolean", "integer", "string"]}
    return {"type": ["string", "number", "boolean"]}


def main() -> int:
    """Write the file."""
    schema = json.loads(FILE.read_text())
    schema["$defs"]["settings"] = settings_schema()
    FILE.write_text(json.dumps(schema, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
