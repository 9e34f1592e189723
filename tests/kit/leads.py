"""Leads to send, and the assertions that many tests share."""

import itertools
from typing import Any

import httpx

UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
MOMENT = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z"

BLANK = "This value should not be blank."
NOT_EMAIL = "This value is not a valid email address"
NOT_PHONE = r"This value should match pattern: /^\+?[1-9]\d{1,14}$/"

_numbers = itertools.count(1)


def a_lead(**changes: Any) -> dict[str, Any]:
    """Return a valid lead with a unique address. `changes` replace fields; `...` leaves one out."""
    lead = {
        "firstName": "Ada",
        "lastName": "Lovelace",
        "email": f"ada{next(_numbers)}@example.com",
        "phone": "+442071234567",
        "dateOfBirth": "1990-12-10",
        **changes,
    }
    return {name: value for name, value in lead.items() if value is not ...}


def assert_success(answer: httpx.Response, code: int) -> Any:
    """Check the success envelope and return its data."""
    assert answer.status_code == code, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"status", "code", "message", "data"}
    assert (body["status"], body["code"]) == ("success", code)
    assert isinstance(body["message"], str)
    return body["data"]


def assert_error(answer: httpx.Response, code: int, message: str | None = None) -> dict[str, Any]:
    """Check the error envelope and, if given, the message; return the whole body."""
    assert answer.status_code == code, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["Content-Type"] == "application/json"
    body = dict(answer.json())
    assert {"status", "code", "message"} <= body.keys() <= {"status", "code", "message", "errors", "retry_after"}
    assert (body["status"], body["code"]) == ("error", code)
    assert isinstance(body["message"], str)
    assert body["message"]
    if message is not None:
        assert body["message"] == message
    for name, messages in body.get("errors", {}).items():
        assert isinstance(name, str)
        assert messages
        assert all(isinstance(each, str) and each for each in messages)
    assert_common_headers(answer)
    return body


RATE_LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def assert_common_headers(answer: httpx.Response) -> None:
    """Check the headers of every response: those of the rate limit are there together, or with the limit off not."""
    assert answer.headers["X-Request-Id"]
    given = [answer.headers[name] for name in RATE_LIMIT_HEADERS if name in answer.headers]
    assert len(given) in (0, 3)
    assert all(value.isdigit() for value in given)
    assert given[:1] != ["0"]
