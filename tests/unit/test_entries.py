"""schema.queue.entries: what schema.lead.rules writes, an entry reads; anything else is a BadEntry without values."""

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.lead import codec, lead_id, rules
from schema.lead.lead_id import new_lead_id
from schema.queue import entries
from schema.queue.entries import BadEntry

FIELDS: dict[str, Any] = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": "ada@example.com",
    "phone": "+442071234567",
    "dateOfBirth": "1990-12-10",
    "additionalData": {"b": 1, "a": [None]},
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), children, max_size=4)
    ),
    max_leaves=8,
)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255)


def payload(**changes: Any) -> bytes:
    return orjson.dumps(orjson.loads(codec.encode(new_lead_id(), FIELDS)) | changes)


@given(first=names, last=names, data=st.none() | st.dictionaries(names, json_values, max_size=3))
def test_a_lead_comes_back_as_the_row_it_will_be(first: str, last: str, data: dict[str, Any] | None):
    new_id = new_lead_id()
    fields = FIELDS | {"firstName": first, "lastName": last, "additionalData": data}

    row = entries.decode(codec.encode(new_id, fields))

    assert row.id == new_id
    assert (row.first_name, row.last_name) == (first, last)
    assert (row.email, row.phone) == ("ada@example.com", "+442071234567")
    assert row.date_of_birth == "1990-12-10"
    assert row.additional_data is data is None or orjson.loads(row.additional_data) == data
    assert row.created_at == row.updated_at == lead_id.time_of(new_id).strftime("%Y-%m-%d %H:%M:%S.%f")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"secret", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "TypeError in a field"),
        (b'"secret"', "TypeError in a field"),
        (b"[]", "TypeError in a field"),
        (b"{}", "no additionalData"),
        (orjson.dumps({"additionalData": None}), "no createdAt"),
        (payload(id="secret"), "ValueError in a field"),
        (payload(id=1), "TypeError in a field"),
        (payload(id=None), "TypeError in a field"),
        (payload(dateOfBirth="secret"), "ValueError in a field"),
        (payload(dateOfBirth=19900101), "TypeError in a field"),
        (payload(createdAt="secret"), "ValueError in a field"),
        (payload(createdAt=None), "TypeError in a field"),
    ],
    ids=itertools.count(),  # the payloads differ in each process
)
def test_what_holds_no_lead_is_a_bad_entry_that_quotes_nothing(content: bytes, message: str):
    with pytest.raises(BadEntry) as caught:
        entries.decode(content)

    assert str(caught.value) == message


@pytest.mark.parametrize("value", [None, 1, {"a": 1}, ["secret"]], ids=str)
def test_a_text_field_of_another_type_is_a_bad_entry(value: object):
    for field in ("firstName", "lastName", "email", "phone"):
        with pytest.raises(BadEntry):
            entries.decode(payload(**{field: value}))


@pytest.mark.parametrize("content", [b"", b"x", b"[]", b"{}", b"1", b'{"id":1}', b'{"id":"x"}', b'{"id":null}'])
def test_a_payload_without_an_id_has_none(content: bytes):
    assert entries.id_of(content) is None


def test_a_payload_tells_its_id():
    new_id = new_lead_id()

    assert entries.id_of(codec.encode(new_id, FIELDS)) == new_id


@pytest.mark.parametrize("fields", [None, {}, {b"other": b"thing"}])
def test_an_entry_without_a_lead_has_an_empty_payload(fields: dict[bytes, bytes] | None):
    assert entries.parse(b"1-0", fields).payload == b""


def test_the_state_is_added_to_the_encoded_lead():
    encoded = codec.encode(new_lead_id(), FIELDS)

    assert orjson.loads(codec.with_state(encoded, "queued")) == orjson.loads(encoded) | {"state": "queued"}


def test_an_encoded_lead_shows_its_times_in_utc_with_microseconds():
    encoded = orjson.loads(codec.encode(lead_id.at(1_772_366_400_000_001), FIELDS))

    assert encoded["createdAt"] == encoded["updatedAt"] == "2026-03-01T12:00:00.000001Z"
    assert list(encoded) == ["id", *(name for name in rules.FIELDS if name != "consent"), "createdAt", "updatedAt"]
