"""schema.lead.lead_id: ids that are UUIDv7, sort by time, and give the time back."""

import threading
import uuid
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from schema.lead import lead_id

MICROS = st.integers(0, (1 << 48) * 1000 - 2)
RANDOM = st.integers(0, (1 << 64) - 1)


@given(MICROS, RANDOM)
def test_the_time_within_an_id_comes_back_to_the_microsecond(micros: int, random: int):
    assert lead_id.micros_of(lead_id.at(micros, random)) == micros


@given(st.lists(st.binary(min_size=16, max_size=16)))
def test_the_times_of_many_ids_are_those_of_each(ids: list[bytes]):
    assert lead_id.micros_of_all(ids) == [lead_id.micros_of(each) for each in ids]


@given(MICROS, RANDOM)
def test_an_id_is_a_uuid_of_version_7(micros: int, random: int):
    parsed = uuid.UUID(bytes=lead_id.at(micros, random))

    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == micros // 1000


@given(MICROS, RANDOM, MICROS, RANDOM)
def test_ids_sort_by_their_time(micros: int, random: int, other_micros: int, other_random: int):
    if micros != other_micros:
        ids = lead_id.at(micros, random), lead_id.at(other_micros, other_random)
        assert (ids[0] < ids[1]) == (micros < other_micros)


@given(MICROS, RANDOM)
def test_without_random_bits_an_id_is_the_least_of_its_time(micros: int, random: int):
    assert lead_id.at(micros) <= lead_id.at(micros, random) < lead_id.at(micros + 1)


@given(MICROS, RANDOM)
def test_the_text_of_an_id_comes_back_in_either_case(micros: int, random: int):
    each = lead_id.at(micros, random)
    text = lead_id.to_text(each)

    assert text == str(uuid.UUID(bytes=each))
    assert lead_id.from_text(text) == lead_id.from_text(text.upper()) == each


@given(st.text())
def test_any_text_is_an_id_or_a_value_error(text: str):
    with suppress(ValueError):
        assert lead_id.to_text(lead_id.from_text(text)) == text.lower()


VALID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", VALID[:-1], VALID + "0", VALID.replace("-", ""), "{" + VALID + "}", " " + VALID[1:]),
        *(VALID.replace("-", "_"), VALID.replace("a", "g"), VALID.replace("0", "٠"), VALID[:9] + "-" + VALID[10:]),
        *("urn:uuid:" + VALID, VALID[:-1] + "\n", VALID.replace("01890a5d", "-1890a5d"), VALID[:-2] + "+1"),
    ],
)
def test_what_is_no_uuid_is_a_value_error(text: str):
    with pytest.raises(ValueError):
        lead_id.from_text(text)


def test_the_time_of_an_id_is_the_moment_it_was_made(monkeypatch: pytest.MonkeyPatch):
    # The ids that this process made before are forgotten, so that the clock alone decides.
    monkeypatch.setattr(lead_id, "_last_micros", 0)
    moment = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
    with time_machine.travel(moment, tick=False):
        assert abs(lead_id.micros_of(lead_id.new_lead_id()) - moment.timestamp() * 1e6) < 1000


def test_each_id_of_a_process_is_greater_than_the_one_before_though_the_clock_stands_or_goes_back():
    made = [lead_id.new_lead_id() for _ in range(10_000)]
    with time_machine.travel(datetime(2001, 1, 1, tzinfo=UTC), tick=False):
        made += [lead_id.new_lead_id() for _ in range(100)]

    assert made == sorted(set(made))


def test_threads_make_ids_that_differ_and_rise_in_each():
    made: list[list[bytes]] = [[] for _ in range(4)]

    def make(found: list[bytes]) -> None:
        found.extend(lead_id.new_lead_id() for _ in range(5000))

    threads = [threading.Thread(target=make, args=(found,)) for found in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(found == sorted(found) for found in made)
    assert len({lead_id.micros_of(each) for found in made for each in found}) == 20_000


def test_ids_of_a_batch_come_in_order_between_those_before_and_after():
    ids = [lead_id.new_lead_id(), *lead_id.new_lead_ids(b"seed", 1000), lead_id.new_lead_id()]

    assert ids == sorted(set(ids))
    assert len(ids) == 1002


@given(st.binary(min_size=1, max_size=32), st.integers(1, 3000), st.data())
def test_any_id_of_a_batch_gives_all_of_them_again(seed: bytes, number: int, data: st.DataObject):
    ids = lead_id.new_lead_ids(seed, number)
    known = data.draw(st.sampled_from(ids))

    assert lead_id.same_lead_ids(known, seed, number) == ids
    assert lead_id.same_lead_ids(known, seed + b"?", number) != ids
