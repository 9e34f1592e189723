"""The Helm chart's values: each has its sentence and its place in the schema, and settings are those of the code."""

import json
import re
from typing import Any

import pytest
import yaml

from compose.helm.settings_schema import settings_schema
from tests.helm.chart import CHART, ROOT

VALUES = (CHART / "values.yaml").read_text()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

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


def test_a_value_that_is_taken_away_is_missed():
    def walk(values: dict[str, Any], known: dict[str, Any], path: tuple[str, ...] = ()) -> None:
        needed = {name for name, value in values.items() if value is not None and name != "maxUnavailable"}
        assert set(known.get("required", ())) == needed, path
        for name in needed:
            inner = known["properties"][name]
            if isinstance(values[name], dict) and "properties" in inner:
                walk(values[name], inner, (*path, name))

    walk(yaml.safe_load(VALUES), SCHEMA)


def test_the_schema_has_the_settings_of_the_code_with_their_types():
    assert SCHEMA["$defs"]["settings"] == settings_schema()


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
