"""Text that breaks services: it comes back as it was sent, or is refused, and never ends in a 500."""

import json
from typing import Any

import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.service import Service

NAMES = [
    "😀",
    "👩‍👩‍👧‍👦",
    "שלום עולם",
    "محمد‎ علي",
    "a\u202eb\u202c",
    'O\'Brien "Bob" \\ `x`',
    "Robert'); DROP TABLE leads;--",
    "%s %d {0} ${x} {{7*7}}",
    "<script>alert(1)</script>",
    "e\u0301 \u00e9",
    "\ufdd0\uffff\ufffe",
    "\U0010ffff\U00010000",
    "a\u200bb\ufeffc",
    "\u2028\u2029x",
    "NULL",
    "null",
    "-1",
    "\\u0000",
    "Ａ",
    "ß ẞ ı İ",
    "𝒜" * 255,
    "漢" * 255,
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_comes_back_as_it_was_sent(service: Service, name: str):
    lead = a_lead(firstName=name, lastName=name, additionalData={name: name})

    data = assert_success(service.post("/api/leads", lead), 202)

    expected = {**lead, "firstName": name.strip(), "lastName": name.strip()}
    assert {field: data[field] for field in lead} == expected
    service.wait_until_stored(data["id"])
    found = service.lead(data["id"])
    assert {field: found[field] for field in lead} == expected


def test_names_are_trimmed_at_the_edges_alone(service: Service):
    data = assert_success(service.post("/api/leads", a_lead(firstName="  Ada \n", lastName="\u00a0King  Noel\t")), 202)

    assert (data["firstName"], data["lastName"]) == ("Ada", "King  Noel")


@pytest.mark.parametrize(
    "character", ["\x00", "\x01", "\x08", "\t", "\n", "\r", "\x1b", "\x1f", "\x7f", "\x80", "\x9f"]
)
@pytest.mark.parametrize("field", ["firstName", "lastName"])
def test_a_control_character_within_a_name_is_refused(service: Service, field: str, character: str):
    answer = service.post("/api/leads", a_lead(**{field: f"A{character}da"}))

    assert assert_error(answer, 400, "Validation failed")["errors"].keys() == {field}


@pytest.mark.parametrize("text", ["x" * 256, "😀" * 256, "x" * 100_000])
def test_a_name_over_255_characters_is_refused(service: Service, text: str):
    answer = service.post("/api/leads", a_lead(firstName=text))

    assert "255" in assert_error(answer, 400, "Validation failed")["errors"]["firstName"][0]


def test_a_name_is_measured_after_trimming(service: Service):
    data = assert_success(service.post("/api/leads", a_lead(firstName=" " * 300 + "x" * 255 + " " * 300)), 202)

    assert data["firstName"] == "x" * 255


@pytest.mark.parametrize(
    "extra",
    [
        {"nul": "a\x00b", "\x00": 1},
        {"controls": "".join(map(chr, range(32)))},
        {"": {"": [""]}},
        {"numbers": [0, -1, 2**63 - 1, -(2**63), 2**64 - 1, 0.1, 1e308, -1e-308, 1.0, 5e-324]},
        {"literals": [True, False, None]},
        {"z": 1, "a": 2, "m": {"y": 1, "b": 2}},
        {"id": "x", "state": "stored", "additionalData": {"additionalData": None}},
        {"empty": [{}, [], [[]], {"a": {}}]},
        {"quotes": "\"'\\/`;--", "colons": ":name %(name)s ?"},
        {},
    ],
    ids=lambda extra: next(iter(extra), "nothing") or "blank",
)
def test_additional_data_comes_back_as_it_was_sent(service: Service, extra: dict[str, Any]):
    data = assert_success(service.post("/api/leads", a_lead(additionalData=extra)), 202)
    service.wait_until_stored(data["id"])

    for found in (data, service.lead(data["id"]), service.page(email=data["email"])["items"][0]):
        assert found["additionalData"] == extra
        # Their order and the difference between 1 and 1.0 too.
        assert json.dumps(found["additionalData"]) == json.dumps(extra)


def deep(levels: int) -> dict[str, Any]:
    """Objects within objects, that many in all."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_additional_data_may_be_16_levels_deep(service: Service):
    assert_success(service.post("/api/leads", a_lead(additionalData=deep(16))), 202)


@pytest.mark.parametrize("levels", [17, 100, 900])
def test_deeper_additional_data_is_refused_with_the_limit(service: Service, levels: int):
    answer = service.post("/api/leads", a_lead(additionalData=deep(levels)))

    assert "16" in assert_error(answer, 400, "Validation failed")["errors"]["additionalData"][0]


@pytest.mark.parametrize("filler", ["x", "é", "😀"])
def test_additional_data_may_be_16_kib_as_json(service: Service, filler: str):
    room = 16 * 1024 - len(b'{"a":""}')
    width = len(filler.encode())
    text = filler * (room // width) + "x" * (room % width)

    data = assert_success(service.post("/api/leads", a_lead(additionalData={"a": text})), 202)

    service.wait_until_stored(data["id"])
    assert service.lead(data["id"])["additionalData"] == {"a": text}
    answer = service.post("/api/leads", a_lead(additionalData={"a": text + "x"}))
    message = assert_error(answer, 400, "Validation failed")["errors"]["additionalData"][0]
    assert "16384" in message or "16 KiB" in message
