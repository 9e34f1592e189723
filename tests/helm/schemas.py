"""Schemas for kubeconform: from the API's own description of each release of Kubernetes, and from others' CRDs."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.kit.kubernetes import BUILT

Schema = dict[str, Any]

# As kubeconform's option -schema-location has it.
NAME = "{{ .ResourceKind }}{{ .KindSuffix }}.json"

QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"

# Custom resources that the chart may hold.
CUSTOM = ("ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute")


def releases() -> list[str]:
    """Return the releases of Kubernetes, such as 1.34.3, whose descriptions are here."""
    return sorted(each.stem for each in (BUILT / "openapi").glob("*.json"))


def crds() -> list[Schema]:
    """Return the definitions of CUSTOM that are here."""
    found = [
        each
        for path in sorted((BUILT / "crds").glob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text())
        if each
    ]
    return [each for each in found if each["kind"] == "CustomResourceDefinition" and _kind(each) in CUSTOM]


def write(release: str, kinds: set[str], directory: Path) -> str:
    """Write the schemas of some kinds of a release, and of CUSTOM; return kubeconform's -schema-location."""
    directory.mkdir()
    definitions = json.loads((BUILT / "openapi" / f"{release}.json").read_text())["definitions"]
    for name, schema in definitions.items():
        for each in schema.get("x-kubernetes-group-version-kind", ()):
            if each["kind"] not in kinds:
                continue
            names = _needed(name, definitions)
            closed = {other: _strict(other, definitions[other]) for other in names}
            text = json.dumps({"$ref": f"#/definitions/{name}", "definitions": closed})
            (directory / _file(each["group"], each["version"], each["kind"])).write_text(text)
    for crd in crds():
        for version in crd["spec"]["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            (directory / _file(crd["spec"]["group"], version["name"], _kind(crd))).write_text(json.dumps(schema))
    return f"{directory}/{NAME}"


def _kind(crd: Schema) -> str:
    return str(crd["spec"]["names"]["kind"])


def _file(group: str, version: str, kind: str) -> str:
    suffix = "-".join(each for each in (group.partition(".")[0], version) if each)
    return f"{kind}-{suffix}.json".lower()


def _needed(name: str, definitions: dict[str, Schema]) -> set[str]:
    """Return the names of all definitions that one refers to, itself among them."""
    needed, new = {name}, [name]
    while new:
        text = json.dumps(definitions[new.pop()])
        for piece in text.split('"#/definitions/')[1:]:
            other = piece.partition('"')[0]
            if other not in needed:
                needed.add(other)
                new.append(other)
    return needed


def _strict(name: str, schema: Schema) -> Schema:
    if name == QUANTITY:
        return {"type": ["string", "number"]}
    return _closed(schema)


def _closed(schema: Any) -> Any:
    """Return the schema with no field let in that it does not name, and what Kubernetes means by int-or-string."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _closed(each) for name, each in schema.items()}
    if found.get("format") == "int-or-string":
        found = {"type": ["string", "integer"]}
    free = found.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in found
    if isinstance(found.get("properties"), dict) and not free and found.get("type", "object") == "object":
        found["additionalProperties"] = False
    return found
