"""ingest_api.reads.changes_cursor: what was written is read for ever, and nothing else is taken for a cursor."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.reads.changes_cursor import ChangesCursor
from ingest_api.reads.cursor import BadCursor
from schema.counts.widths import SLOTS
from schema.lead.lead_id import new_lead_id

MICROS = 1_764_500_000_000_000

POSITIONS = st.dictionaries(st.integers(0, SLOTS - 1), st.integers(1, (1 << 63) - 1))
CURSORS = st.builds(ChangesCursor, st.binary(min_size=16, max_size=16), POSITIONS)


@given(cursor=CURSORS)
def test_a_cursor_gives_back_what_was_written(cursor: ChangesCursor):
    assert ChangesCursor.decode(cursor.encode()) == cursor


@given(cursor=CURSORS)
def test_equal_cursors_are_one_text(cursor: ChangesCursor):
    turned = ChangesCursor(cursor.history, dict(reversed(cursor.positions.items())))

    assert turned.encode() == cursor.encode()


def test_a_cursor_of_the_first_release_that_had_them_is_still_read():
    # Written on 2026-11-30. Clients keep cursors for ever: whoever changes the format goes on reading this one.
    kept = "AQGa1GDPAHgAgAAAAAAAAAAAAAZEzau0yAAFAAZEzau0yAeVwOE1"

    history = bytes.fromhex("019ad460cf0078008000000000000000")
    assert ChangesCursor.decode(kept) == ChangesCursor(history, {0: MICROS, 5: MICROS + 7})


def test_the_longest_cursor_fits_into_a_link():
    longest = ChangesCursor(new_lead_id(), {slot: MICROS + slot for slot in range(SLOTS)})

    assert len(longest.encode()) < 800
    assert longest.encode().isascii()
    assert set(longest.encode()).isdisjoint("+/=&?%")


@given(cursor=CURSORS, data=st.data())
def test_an_altered_cursor_is_refused(cursor: ChangesCursor, data: st.DataObject):
    text = cursor.encode()
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCXYZabcxyz0189-_").filter(lambda each: each != text[at]))

    with pytest.raises(BadCursor):
        ChangesCursor.decode(text[:at] + letter + text[at + 1 :])


@given(cursor=CURSORS, data=st.data())
def test_a_cut_cursor_is_refused(cursor: ChangesCursor, data: st.DataObject):
    text = cursor.encode()

    with pytest.raises(BadCursor):
        ChangesCursor.decode(text[: data.draw(st.integers(0, len(text) - 1))])


@given(text=st.text())
def test_any_other_text_is_refused(text: str):
    with pytest.raises(BadCursor):
        ChangesCursor.decode(text)


def test_a_slot_is_ahead_when_its_last_position_was_not_read():
    cursor = ChangesCursor(positions={1: 10, 2: 20})

    assert cursor.ahead({1: 10, 2: 21, 3: 5}) == {2: 20, 3: 0}
    # A database that has lost its last commits, or a replica that has not got them yet
    assert cursor.ahead({1: 9}) == {}
