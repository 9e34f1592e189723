"""schema.lead.schema_references: a schema refers to places in itself, in no circle, and is bounded."""

import json
import socket
from typing import Any

import pytest

from schema.lead.rules import NOT_TEXT
from schema.lead.schema_errors import NO_FORM
from schema.lead.schema_references import EXPANDED_MAX, LEVELS_MAX
from tests.unit.own_schemas import compiled, refusal


@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
@pytest.mark.parametrize("place", ["root", "property", "unused", "identified"])
def test_nothing_that_a_schema_refers_to_is_fetched(word: str, place: str):
    # Given a server that would have it
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        schema = {
            "root": {word: url},
            "property": {"properties": {"a": {word: url}}},
            "unused": {"$defs": {"a": {word: url}}},
            "identified": {"$id": url, "properties": {"a": {word: "other.json"}}},
        }[place]

        # Then the schema is refused, and nobody called
        assert "a reference should lead to a place in the schema itself" in refusal(json.dumps(schema))
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("reference", ["file:///etc/hostname", "other.json", "#name", "urn:x", "", "/$defs/a"])
def test_a_reference_that_leads_outside_is_refused(reference: str):
    schema = {"$defs": {"a": {"$anchor": "name"}}, "properties": {"a": {"$ref": reference}}}

    assert refusal(json.dumps(schema)).startswith(f"it refers to {reference}: a reference should lead to a place in")


@pytest.mark.parametrize("reference", ["#/$defs/none", "#/$defs/a/type/x", "#/allOf/7", "#/allOf/x", "#/"])
def test_a_reference_that_leads_nowhere_is_refused(reference: str):
    schema = {"$defs": {"a": {"type": "string"}}, "allOf": [{}], "properties": {"a": {"$ref": reference}}}

    assert refusal(json.dumps(schema)) == f"it refers to {reference}, which is not in it"


@pytest.mark.parametrize("reference", ["#/$defs/a%20b~1c~0", "#/properties/b", "#/properties/b/allOf/0"])
def test_references_within_the_schema_are_followed(reference: str):
    text = {"type": "string"}
    schema = {"$defs": {"a b/c~": text}, "properties": {"a": {"$ref": reference}, "b": text | {"allOf": [text]}}}

    assert compiled(schema).errors({"a": 1}) == {"additionalData.a": [NOT_TEXT]}


def test_fields_may_be_called_as_keywords_are():
    names = ("$ref", "$id", "$schema", "$defs", "properties")
    schema = compiled({"properties": {name: {"type": "string"} for name in names}, "required": ["$ref"]})

    assert schema.errors(dict.fromkeys(names, "x")) == {}
    assert schema.errors(dict.fromkeys(names, 1)).keys() == {f"additionalData.{name}" for name in names}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"items": {"$dynamicRef": "#/properties/a"}}}},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"anyOf": [{"properties": {"x": {"items": {"$ref": "#/$defs/a"}}}}, True]}}},
    ],
)
def test_a_schema_that_refers_to_itself_is_refused(schema: object):
    # The time for errors of a lead would grow exponentially with its depth.
    assert refusal(json.dumps(schema)) == "it refers to itself"


def doubled(levels: int) -> dict[str, Any]:
    """Return a schema in which each level refers to the next one twice."""
    each = {f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$defs": each | {f"d{levels}": {"type": "array"}}, "properties": {"a": {"$ref": "#/$defs/d0"}}}


def test_a_schema_is_bounded_with_its_references_written_out():
    assert compiled(doubled(7)).errors({"a": 1}) == {"additionalData.a": [NO_FORM]}

    assert refusal(json.dumps(doubled(20))) == (
        f"it has more than {EXPANDED_MAX} values when its references are written out"
    )


@pytest.mark.parametrize("levels", [LEVELS_MAX, 1020])
def test_a_schema_is_bounded_in_levels(levels: int):
    assert refusal('{"not":' * levels + "{}" + "}" * levels) == f"it has more than {LEVELS_MAX} levels"


def test_only_the_root_of_a_schema_has_an_id():
    compiled({"$id": "https://example.com/lead", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {}}})

    assert "has an $id within" in refusal('{"$defs": {"a": {"$id": "https://example.com/a"}}}')
