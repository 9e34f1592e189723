"""The Helm chart's values: each has its sentence and its place in the schema, and settings are those of the code."""

import dataclasses
import json
import re
from typing import Any

import pytest
import yaml

from schema.settings import Settings, variable
from tests.helm.chart import CHART, ROOT

VALUES = (CHART / "values.yaml").read_text()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

# Paths, addresses and ports within a container.
INSIDE = {
    "LEADS_DATA_DIR",
    "LEADS_HTTP_HOST",
    "LEADS_HTTP_PORT",
    "LEADS_FLOWER_HOST",
    "LEADS_FLOWER_PORT",
    "LEADS_FLOWER_DATABASE",
    "LEADS_WORKER_METRICS_HOST",
    "LEADS_WORKER_METRICS_PORT",
    "LEADS_JWT_PRIVATE_KEY",
    "LEADS_JWT_PUBLIC_KEY",
}

# Values whose names are the user's.
FREE = re.compile(r"resources|settings|passwords|accounts\.\w+|labels|dashboardLabels|annotations")


def schema_of(path: tuple[str, ...]) -> dict[str, Any]:
    """Return the schema of a value; fail when there is none."""
    found = SCHEMA
    for name in path:
        assert name in found.get("properties", {}), f"values.schema.json does not know {'.'.join(path)}"
        found = found["properties"][name]
        if "$ref" in found:
            found = SCHEMA["$defs"][found["$ref"].rpartition("/")[2]]
    return found


def test_each_value_has_one_sentence():
    lines = VALUES.splitlines()
    without = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if re.match(r" *\w+:", line)
        and not re.match(r" *# .*[^.]$| *#.*\.$", before)
        # Beginnings of groups need none, nor what stands under resources.
        and not re.match(
            r"(\w+|  (redis|mysql|service|keda|hpa)):$|      ?(requests|limits): {|    (requests|limits): {", line
        )
    ]

    assert without == []


def test_each_value_is_in_the_schema_and_no_other_is_let_in():
    def walk(values: dict[str, Any], path: tuple[str, ...] = ()) -> None:
        for name, value in values.items():
            known = schema_of((*path, name))
            free = FREE.fullmatch(name) or FREE.fullmatch(".".join((*path, name)[-2:]))
            if isinstance(value, dict) and value and not free:
                assert known.get("additionalProperties") is False, (*path, name)
                walk(value, (*path, name))

    walk(yaml.safe_load(VALUES))
    assert SCHEMA["additionalProperties"] is False


def test_the_schema_knows_every_setting_and_no_other():
    settings = {variable(each.name) for each in dataclasses.fields(Settings)}

    assert SCHEMA["$defs"]["settings"]["properties"].keys() == settings - INSIDE
    assert SCHEMA["$defs"]["settings"]["additionalProperties"] is False


@pytest.mark.parametrize("name", ["alerts.yml", "overview.json"])
def test_rules_and_dashboard_are_no_copies(name: str):
    link = CHART / "files" / name

    assert link.is_symlink()
    assert link.resolve().is_relative_to(ROOT / "compose" / "monitoring")
    assert link.read_text()


def test_the_image_has_what_the_chart_starts():
    build = (ROOT / "compose" / "production" / "commands" / "image.sh").read_text()

    for template in (CHART / "templates").iterdir():
        for module in re.findall(r"-m, (compose\.[\w.]+)", template.read_text()):
            path = module.replace(".", "/")
            assert f"{path}.py" in build or f"{path}/__main__.py" in build, module
