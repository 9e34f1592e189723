"""ingest_api.request_log.masking: of what clients said of persons the shape is kept, and nothing else."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.request_log import masking

# Three letters or more, none of which the shape of another value holds.
words = st.text("bdfghjkmpqvwxyz", min_size=4, max_size=12).map(lambda each: f"Q{each}")
NAMES = ("firstName", "lastName", "email", "phone", "dateOfBirth", "additionalData", "anything")


def nested(word: str, names: tuple[str, ...]) -> Any:
    value: Any = word
    for name in names:
        value = {name: [value, 1]}
    return value


@given(words, st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map(tuple))
def test_no_value_of_a_body_is_kept(word: str, names: tuple[str, ...]):
    assert word[1:] not in orjson.dumps(masking.body(nested(word, names))).decode()


@given(words, st.lists(st.sampled_from((*NAMES, "message", "id", "errors")), max_size=3).map(tuple))
def test_no_value_of_additional_data_in_an_answer_is_kept(word: str, names: tuple[str, ...]):
    value = {"status": "success", "data": {"additionalData": nested(word, ("message", *names))}}

    assert word[1:] not in orjson.dumps(masking.answer(value)).decode()


@given(words, st.integers(0, 40))
def test_no_value_of_a_broken_body_is_kept(word: str, cut: int):
    text = f'{{"firstName": "{word}", email: {word}@{word}.org, "x":'

    assert word[1:] not in masking.body(text[:cut] + text)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Ann", "A…3"),
        ("Al", "…2"),
        ("ann.lee@example.org", "a…3.l…3@e…7.o…3"),
        ("+44 20 7123", "+…2 …2 …4"),
        ("1990-12-10", "…4-…2-…2"),
        ("Zoë", "Z…3"),
        ("हिन्दी", "ह…6"),
        ("", ""),
        ("[redacted]", "[redacted]"),
    ],
)
def test_the_shape_is_kept(text: str, shape: str):
    assert masking.masked(text) == shape


def test_names_that_look_like_no_name_are_masked():
    assert masking.body({"ann@x.org": None, "+4420712345": True, "first name": 1, "utm_source": 2}) == {
        "a…3@…1.o…3": None,
        "+…10": True,
        "f…5 n…4": "…1",
        "utm_source": "…1",
    }


def test_what_we_say_ourselves_is_kept():
    answer = {
        "status": "error",
        "code": 400,
        "message": "Validation failed",
        "errors": {"email": ["This value is not a valid email address"], "3.phone": ["x"], "ann@x.org": ["unknown"]},
    }

    assert masking.answer(answer) == {
        **answer,
        "errors": {
            "email": ["This value is not a valid email address"],
            "3.phone": ["x"],
            "a…3@…1.o…3": ["unknown"],
        },
    }


def test_a_query_keeps_what_is_not_about_a_person():
    assert masking.query("page=2&email=ann%40x.org&sortBy=email&q=Ann") == (
        "page=2&email=a…3@…1.o…3&sortBy=email&q=A…3"
    )


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/api/leads/019ac1c5-7a6e-7b1e-9c3c-0b2f6a1d2c3e", "/api/leads/019ac1c5-7a6e-7b1e-9c3c-0b2f6a1d2c3e"),
        ("/api/leads/ann@x.org", "/api/leads/a…3@…1.o…3"),
        ("/api/leads/442071234567", "/api/leads/…12"),
        ("/api/leads/Ann Lee", "/api/leads/A…3 L…3"),
        ("/api/none", "/api/none"),
    ],
)
def test_a_path_keeps_its_routes(path: str, kept: str):
    assert masking.path(path) == kept


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("user-agent: curl/7.88 (x; y=1)", "user-agent: curl/7.88 (x; y=1)"),
        ("from: Ann <ann@x.org>", "from: Ann <a…3@…1.o…3>"),
        ("referer: https://a.b/?phone=%2B44207&page=2", "referer: https://a.b/?phone=+…5&page=2"),
        ("referer: https://a.b/?e=ann%40x.org", "referer: https://a.b/?e=a…3@…1.o…3"),
        ("idempotency-key: ann@x.org-1", "idempotency-key: a…3@…1.o…3-…1"),
    ],
)
def test_a_header_keeps_what_is_not_about_a_person(header: str, kept: str):
    assert masking.headers(header) == kept
