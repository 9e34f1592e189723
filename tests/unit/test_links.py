"""The `Link` header of a list has a bound: it repeats the query up to four times."""

import re

import pytest

from ingest_api.reads.lists import LINK_MAX, links

PAGE = {"page": 5, "total_pages": 9, "next_cursor": "c" * 60}


def relations(email: str, pagination: dict[str, object] = PAGE) -> list[str]:
    """Return the relations of a list that is filtered by an address, in a header within its bound."""
    link = links("/api/leads", {"email": email}, pagination)
    assert len(link) <= LINK_MAX
    return re.findall(r'rel="(\w+)"', link)


@pytest.mark.parametrize(
    ("characters", "left"),
    [
        (1, ["first", "prev", "next", "last"]),
        (38, ["first", "prev", "next", "last"]),
        (50, ["first", "prev", "next"]),
        (70, ["prev", "next"]),
        (150, ["next"]),
        (254, []),
    ],
)
def test_relations_are_left_out_whole_and_the_next_page_last(characters: int, left: list[str]):
    assert relations("\U0001f600" * characters) == left


def test_a_page_by_cursor_keeps_its_next_one():
    assert relations("\U0001f600" * 100, {"page": None, "total_pages": 9, "next_cursor": "c" * 60}) == ["next"]
