"""schema.audit: the form of an event, the ids of users, and the trail for reading."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from schema.audit import report
from schema.audit.event import Action, Event, command_line_user, new_event, user_id


def an_event(**fields: object) -> Event:
    return new_event(Action.LIST, **{"user": "a1b2c3d4e5f6", "client": "192.0.2.7", **fields})


def test_an_event_comes_out_of_the_stream_as_it_went_in():
    event = an_event(parameters=["phone", "email"], row_count=3, subject="x", request_id="r1")

    assert Event.decode(event.encode()) == event
    assert event.parameters == "email,phone"
    assert abs(event.at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "text",
    [b"", b"x", b"1", b"[]", b'["xx"]', b'["00"]', b'[1, "list"]', b"{}", b"null", b'["00","","","","",0,"",""]'],
)
def test_what_is_no_event_is_an_error_of_one_kind(text: bytes):
    with pytest.raises(ValueError, match=r"."):
        Event.decode(text)


def test_no_value_is_longer_than_its_column():
    event = an_event(user="u" * 999, client="c" * 999, parameters=["p" * 999], subject="s" * 999, request_id="r" * 999)

    assert (len(event.user), len(event.client), len(event.parameters)) == (64, 64, 255)
    assert (len(event.subject), len(event.request_id)) == (64, 128)
    assert max(map(len, Action)) <= 32


def test_a_user_has_one_id_however_the_address_is_written():
    assert user_id("Ada@Example.com") == user_id("ada@example.com") == "b5fc85e55755"
    assert user_id("bob@example.com") != user_id("ada@example.com")


def test_the_command_line_is_known_by_who_runs_it_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch):
    before = command_line_user()
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.setenv("USER", "somebody-else")

    assert command_line_user() == before
    assert before.startswith("cli:")


@pytest.mark.parametrize(("span", "seconds"), [("30m", 1800), ("24h", 86_400), ("7d", 7 * 86_400)])
def test_a_span_is_a_number_and_a_unit(span: str, seconds: int):
    assert abs((datetime.now(UTC) - report.start_of(span)).total_seconds() - seconds) < 60


@pytest.mark.parametrize("span", ["", "24", "h", "-1h", "1s", "1 h", "1h30m", "2026-01-01", "999999d", "٣h"])
def test_anything_else_is_no_span(span: str):
    with pytest.raises(ValueError, match="24h"):
        report.start_of(span)


def test_the_table_has_a_line_for_each_event_and_a_dash_for_what_is_empty():
    events = [an_event(parameters=["email"], row_count=0), an_event(user="", request_id="r2")]

    head, *lines = report.table(events).splitlines()

    assert head.split() == ["time", "action", "user", "client", "parameters", "rows", "subject", "request", "id"]
    assert [line.split()[1:] for line in lines] == [
        ["list", "a1b2c3d4e5f6", "192.0.2.7", "email", "0", "-", "-"],
        ["list", "-", "192.0.2.7", "-", "-", "-", "r2"],
    ]
    assert "No such event" in report.table([])


def test_json_has_one_object_a_line():
    [line] = report.lines([an_event(parameters=["email", "page"])]).splitlines()

    assert json.loads(line) == {
        "id": json.loads(line)["id"],
        "time": json.loads(line)["time"],
        "action": "list",
        "user": "a1b2c3d4e5f6",
        "client": "192.0.2.7",
        "parameters": ["email", "page"],
        "rows": None,
        "subject": None,
        "request_id": None,
    }
