"""ingest_api.parameters: those of a list, and each wrong one named."""

from typing import Any

import pytest
from marshmallow import ValidationError

from ingest_api.parameters.kinds import parse
from ingest_api.parameters.lists import LIST_QUERY, ListQuery

# 2026-03-01T12:00:00Z, in microseconds since 1970.
NOON = 1_772_366_400_000_000
SECOND = 1_000_000


def query(**parameters: Any) -> ListQuery:
    return parse(LIST_QUERY, parameters)


def errors_of(**parameters: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        query(**parameters)
    return caught.value.messages_dict


def test_without_parameters_it_is_the_first_ten_newest_first():
    assert query() == ListQuery(1, 10, "createdAt", False, None, None, None, None, None)


@pytest.mark.parametrize("sort", ["createdAt", "firstName", "lastName", "email"])
@pytest.mark.parametrize(("order", "ascending"), [("ASC", True), ("asc", True), ("DESC", False), ("dEsC", False)])
def test_each_sort_in_each_order_written_in_any_case(sort: str, order: str, ascending: bool):
    found = query(sortBy=sort, sortOrder=order)

    assert (found.sort, found.ascending) == (sort, ascending)


@pytest.mark.parametrize(("parameter", "most"), [("limit", 100), ("page", 10**15)])
def test_numbers_have_bounds(parameter: str, most: int):
    assert getattr(query(**{parameter: "1"}), parameter) == 1
    assert getattr(query(**{parameter: str(most)}), parameter) == most
    message = f"This value should be a whole number from 1 to {most}."
    for wrong in ("0", "-1", str(most + 1), "1.5", "1e1", "+1", " 1", "1 ", "", "x", "٣", "1_0", "9" * 5000, "true"):
        assert errors_of(**{parameter: wrong}) == {parameter: [message]}


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"sortBy": "phone"}, "sortBy"),
        ({"sortBy": "createdat"}, "sortBy"),
        ({"sortBy": ""}, "sortBy"),
        ({"sortBy": "id; DROP TABLE leads"}, "sortBy"),
        ({"sortOrder": "up"}, "sortOrder"),
        ({"sortOrder": ""}, "sortOrder"),
        ({"email": ""}, "email"),
        ({"email": "a" * 255}, "email"),
        ({"phone": ""}, "phone"),
        ({"phone": "1" * 17}, "phone"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "a" * 5000}, "cursor"),
        ({"page": "1", "cursor": "x"}, "cursor"),
        ({"Page": "1"}, "Page"),
        ({"offset": "1"}, "offset"),
        ({"duplicates": ""}, "duplicates"),
        ({"duplicates": "Only"}, "duplicates"),
        ({"page": ["1", "2"]}, "page"),
    ],
    ids=str,
)
def test_a_wrong_parameter_is_named(parameters: dict[str, Any], named: str):
    assert list(errors_of(**parameters)) == [named]


@pytest.mark.parametrize(("word", "wanted"), [("only", True), ("exclude", False)])
def test_duplicates_are_wanted_alone_or_not_at_all(word: str, wanted: bool):
    assert query(duplicates=word).is_duplicate is wanted
    assert query().is_duplicate is None


def test_a_list_has_the_name_that_it_had_before_there_were_sources_and_duplicates():
    assert query().name == repr(("createdAt", False, None, None, None, None))
    assert query(source="acme").name == repr(("createdAt", False, None, None, None, None, "acme"))
    named = [
        query(**each).name
        for source in ({}, {"source": "acme"})
        for each in (source, *(source | {"duplicates": word} for word in ("only", "exclude")))
    ]
    assert len({*named}) == 6


def test_all_wrong_parameters_are_named_at_once():
    assert set(errors_of(page="0", limit="x", sortBy="y", createdTo="z")) == {"page", "limit", "sortBy", "createdTo"}


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00z", NOON),
        ("2026-03-01T12:00:00.000001Z", NOON + 1),
        ("2026-03-01T14:00:00+02:00", NOON),
        ("2026-03-01T14:00:00 02:00", NOON),
        ("2026-03-01T06:30:00-05:30", NOON),
        ("1970-01-01T00:00:00Z", 0),
        ("2026-03-01", NOON - 12 * 3600 * SECOND),
    ],
)
def test_a_time_is_read_as_microseconds(text: str, micros: int):
    assert query(createdFrom=text).created_from == micros


def test_a_date_as_an_end_means_its_last_microsecond():
    assert query(createdTo="2026-03-01").created_to == NOON + 12 * 3600 * SECOND - 1
    assert query(createdTo="2026-03-01T12:00:00Z").created_to == NOON


@pytest.mark.parametrize("parameter", ["createdFrom", "createdTo"])
@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1772366400", "2026-03-01T12:00:00", "2026-02-30", "2026-03-01T25:00:00Z", "2026-03-01 12:00:00Z"),
        *("2026-W09-1", "01.03.2026", "٢٠٢٦-03-01", "2026-03-01T12:00:00+99:00"),
    ],
)
def test_what_is_no_time_is_named(parameter: str, text: str):
    message = "This value should be an RFC 3339 time or a date (YYYY-MM-DD)."
    assert errors_of(**{parameter: text}) == {parameter: [message]}


@pytest.mark.parametrize("text", ["1969-12-31", "0001-01-01", "1969-12-31T23:59:59Z"])
def test_nothing_is_older_than_the_epoch(text: str):
    assert query(createdFrom=text, createdTo=text).created_from == 0


def test_the_last_moment_of_the_calendar_is_a_time():
    assert query(createdTo="9999-12-31").created_to == 253402300800 * SECOND - 1


@pytest.mark.parametrize(("given", "phone"), [("+4420", "+4420"), (" 4420", "+4420"), ("4420", "4420")])
def test_a_plus_that_was_not_escaped_is_put_back(given: str, phone: str):
    assert query(phone=given).phone == phone


def test_with_a_cursor_there_is_no_page():
    found = query(cursor="x")

    assert (found.cursor, found.page) == ("x", None)


def test_lists_that_differ_in_sort_or_filter_have_names_that_differ():
    variants: list[dict[str, str]] = [
        *({}, {"sortBy": "email"}, {"sortOrder": "ASC"}, {"email": "a@example.com"}, {"phone": "12"}),
        *({"createdFrom": "2026-03-01"}, {"createdTo": "2026-03-01"}),
    ]

    assert len({query(**each).name for each in variants}) == len(variants)
    assert query(page="2", limit="5").name == query(cursor="x").name == query().name
