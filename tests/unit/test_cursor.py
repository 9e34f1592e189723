"""ingest_api.reads.cursor: opaque, not to be altered, bound to one list."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.reads.cursor import After, BadCursor, Cursors
from schema.lead.lead_id import new_lead_id

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURSORS = Cursors(PRIVATE)
CURSOR = CURSORS.write("list", After("Ada", b"0123456789abcdef"))


@given(value=st.none() | st.text(st.characters(exclude_categories=["Cs"])), lead=st.binary(min_size=16, max_size=16))
def test_a_cursor_gives_back_what_was_written(value: str | None, lead: bytes):
    cursor = CURSORS.write("list", After(value, lead))

    assert CURSORS.read("list", cursor) == After(value, lead)


def test_another_process_with_the_same_key_reads_it():
    after = After("Ada", new_lead_id())

    assert Cursors(PRIVATE).read("list", CURSORS.write("list", after)) == after


def test_a_cursor_shows_nothing_of_the_person():
    cursor = CURSORS.write("list", After("Lovelace", new_lead_id()))

    padded = cursor + "=" * (-len(cursor) % 4)
    assert b"Lovelace" not in base64.urlsafe_b64decode(padded)


def test_a_cursor_can_stand_in_a_query_as_it_is():
    assert set(CURSORS.write("list", After("Ada", new_lead_id()))) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


def test_a_cursor_of_another_list_is_refused():
    cursor = CURSORS.write("list", After(None, new_lead_id()))

    with pytest.raises(BadCursor, match="another sort or filter"):
        CURSORS.read("other", cursor)


def test_a_cursor_of_another_key_is_refused():
    other = Cursors(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    with pytest.raises(BadCursor, match="not valid"):
        CURSORS.read("list", other.write("list", After(None, new_lead_id())))


@given(st.data())
def test_an_altered_cursor_is_refused(data: st.DataObject):
    place = data.draw(st.integers(0, len(CURSOR) - 3))
    letter = data.draw(st.sampled_from(sorted(set("ABCxyz019-_") - {CURSOR[place]})))

    with pytest.raises(BadCursor):
        CURSORS.read("list", CURSOR[:place] + letter + CURSOR[place + 1 :])


@given(st.text(max_size=200))
def test_any_other_text_is_refused(text: str):
    with pytest.raises(BadCursor):
        CURSORS.read("list", text)
