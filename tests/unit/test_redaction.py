"""ingest_api.request_log.redaction: no secret is kept, wherever its name stands and however it is written."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_api.request_log import masking, redaction
from ingest_api.request_log.record import KEPT_BODY_MAX, kept, kept_of_accepted, kept_of_login
from schema.lead.source import new_key, prefix_of

# A busy machine may take seconds over the first draw.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
patient = settings.get_profile("patient")

SECRET = "Xq7-hunter2-Zz"

NAMES = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "client_secret",
    "token",
    "access_token",
    "refreshToken",
    "id-token",
    "authorization",
    "Proxy-Authorization",
    "cookie",
    "Set-Cookie",
    "api_key",
    "apiKey",
    "X-API-Key",
    "private_key",
    "credentials",
    "session_id",
    "jwt",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def names(draw: st.DrawFn) -> str:
    """Draw a secret's name, in any case and within a longer one."""
    name = "".join(
        each.upper() if upper else each.lower()
        for each, upper in ((each, draw(st.booleans())) for each in draw(st.sampled_from(NAMES)))
    )
    return draw(st.sampled_from(["", "x_", "user.", "a["])) + name + draw(st.sampled_from(["", "2", "_old", "]"]))


def escaped(draw: st.DrawFn, text: str) -> str:
    """Write a JSON string, some of its characters as \\u escapes: of one that is no ASCII, json.dumps makes those."""
    letters = (
        f"\\u{ord(each):04x}" if each.isascii() and draw(st.booleans()) else json.dumps(each)[1:-1] for each in text
    )
    return f'"{"".join(letters)}"'


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Draw JSON that holds the secret under a secret's name, at some depth, among other things."""
    secret = draw(st.sampled_from([SECRET, [SECRET], {"a": [{"b": SECRET}]}, {"value": SECRET, "n": 1}]))
    text = f"{{{escaped(draw, draw(names()))} : {json.dumps(secret)}}}"
    if draw(st.booleans()):
        # The same name twice: of JSON's readers some take the first.
        text = text[:-1] + "," + text[1:-1].partition(" : ")[0] + ":1}"
    for _ in range(draw(st.integers(0, 5))):
        other, name = json.dumps(draw(json_values)), escaped(draw, draw(st.text(max_size=6)))
        around = [f"[{other},{text}]", f"[{text}]", f'{{"other":{other},{name}: {text}}}', f"{{{name}:{text}}}"]
        text = draw(st.sampled_from(around))
    if draw(st.booleans()):
        text = json.dumps({"payload": text})
    return draw(st.sampled_from(["", " ", "\n"])).encode() + text.encode()


def flat(body: Any) -> str:
    """Return all that is kept of a body as one text, with its escapes undone."""
    return body if isinstance(body, str) else orjson.dumps(body).decode()


@patient
@given(documents())
def test_no_secret_of_a_json_body_is_kept(body: bytes):
    value, _ = kept(body)

    assert value is not None
    assert SECRET not in flat(value)
    assert "hunter2" not in flat(value)


@patient
@given(st.lists(documents(), min_size=2, max_size=4))
def test_no_secret_of_lines_of_json_is_kept(bodies: list[bytes]):
    value, remark = kept(b"\n".join(body.strip() for body in bodies))

    assert "hunter2" not in flat(value)
    assert (value is None) == bool(remark)


def is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@patient
@given(documents(), st.data())
def test_no_secret_of_a_broken_body_is_kept(body: bytes, data: st.DataObject):
    at = data.draw(st.integers(0, len(body)))
    junk = data.draw(st.sampled_from([b"", b"}", b"\\", b'"', b"\n{", b"\xff", b"\0"]))

    # What comes after the cut is gone; what is before holds all of the secret, or a part of it.
    value, _ = kept(body[:at] + junk)
    assert "Xq7-" not in flat(value)
    broken = body[:at] + junk + body[at:]
    # Within the name, it can be that of no secret now, in JSON that is not broken at all.
    if not any(b"Xq7-" in text and is_json(text) for text in (broken, *broken.split(b"\n"))):
        value, _ = kept(broken)
        assert "Xq7-" not in flat(value)


@patient
@given(documents(), st.integers(1, 40))
def test_no_secret_of_a_long_body_is_kept(body: bytes, thousands: int):
    filling = json.dumps("x" * thousands * 1000).encode()

    for text in (b"[" + filling + b"," + body + b"]", b"[" + body + b"," + filling + b"]"):
        value, _ = kept(text)
        assert "Xq7-" not in flat(value)


@patient
@given(documents())
def test_no_secret_of_an_accepted_lead_is_kept_from_its_response(body: bytes):
    response = b'{"status":"success","data":%b}' % body

    value, _, answered, _ = kept_of_accepted(body, response)

    assert "hunter2" not in flat(value)
    assert "hunter2" not in flat(answered)


@patient
@given(names(), st.text(max_size=5), st.sampled_from(["&", "&&", "?", ";"]), st.booleans())
def test_no_secret_parameter_is_kept(name: str, other: str, between: str, written_otherwise: bool):
    shown = "".join(f"%{ord(each):02X}" for each in name) if written_otherwise else quote(name)
    query = f"{urlencode({'q': other})}{between}{shown}={SECRET}&page=2"

    assert "hunter2" not in redaction.parameters(query)
    assert "page=2" in redaction.parameters(query)


@patient
@given(names())
def test_no_secret_of_an_address_within_a_text_is_kept(name: str):
    address = f"https://example.com/landing?utm_source=x&{quote(name)}={SECRET}&page=2"

    assert "hunter2" not in flat(kept(orjson.dumps({"additionalData": {"from": [address]}}))[0])
    assert "hunter2" not in redaction.headers([("referer", address)])


@patient
@given(st.sampled_from(NAMES), st.booleans())
def test_no_secret_header_is_kept(name: str, upper: bool):
    sent = name.upper() if upper else name.lower()

    text = redaction.headers([("accept", "*/*"), (sent, SECRET)])

    assert "hunter2" not in text
    assert "accept: */*" in text


@pytest.mark.parametrize(
    "body",
    [
        {"email": "ada@example.com", "password": SECRET},
        {"email": SECRET, "password": "x"},
        {"email": "ada@example.com", "pasword": SECRET},
        {"email": {"a": SECRET}, "x": [SECRET]},
        [SECRET],
        SECRET,
    ],
)
def test_a_log_in_keeps_no_value(body: object):
    value, _ = kept_of_login(orjson.dumps(body))

    assert "hunter2" not in flat(value)


def test_a_log_in_says_which_fields_it_had():
    value, _ = kept_of_login(b'{"email":"ada@example.com","password":"x"}')

    assert value == {"email": "[redacted]", "password": "[redacted]"}


def test_the_answer_to_a_log_in_keeps_no_token():
    assert kept(b'{"token":"abc"}') == ({"token": "[redacted]"}, "")


@pytest.mark.parametrize("body", [b"email=a&password=Xq7-hunter2-Zz", b"email=a&p%61ssword=Xq7-hunter2-Zz"])
def test_a_form_with_a_password_is_not_kept(body: bytes):
    value, remark = kept(body)

    assert value is None
    assert "may hold a secret" in remark


def test_a_token_is_not_kept_whatever_its_name():
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"

    for text in (
        flat(kept(orjson.dumps({"note": f"see {token}."}))[0]),
        redaction.headers([("x-debug", token)]),
        redaction.parameters(f"/api/leads/{token}"),
    ):
        assert "c2lnbmF0dXJl" not in text
        assert "[redacted]" in text


def test_an_api_key_is_not_kept_whatever_its_name_and_place():
    key = new_key()
    secret = key[len(prefix_of(key)) :]

    for text in (
        flat(kept(orjson.dumps({"note": f"see {key}."}))[0]),
        flat(kept(orjson.dumps({"note": key}))[0]),
        redaction.headers([("x-partner", key)]),
        redaction.headers([("referer", f"https://example.com/?k={key}")]),
        redaction.parameters(f"cursor={key}&interval={key}"),
        masking.path(f"/api/leads/{key}"),
    ):
        assert secret not in text
        assert "[redacted]" in text


@patient
@given(st.dictionaries(st.sampled_from(["a", "firstName", "keywords", "campaign"]), json_values, max_size=4))
def test_what_is_no_secret_is_kept_as_it_is(body: dict[str, Any]):
    text = orjson.dumps(body)
    if not redaction.is_suspect(text.replace(b"keywords", b"")) and b"=" not in text:
        assert kept(text) == (body, "")


def test_harmless_names_that_sound_like_a_secret_are_kept():
    assert kept(b'{"keyword":"shoes"}') == ({"keyword": "shoes"}, "")
    assert redaction.headers([("idempotency-key", "order-4711")]) == "idempotency-key: order-4711"


def test_a_long_body_is_cut_and_says_so():
    text = b"[" + b"1," * 10_000 + b"1]"

    value, remark = kept(text)

    assert value == text[:KEPT_BODY_MAX].decode()
    assert remark == f"cut off: the first {KEPT_BODY_MAX} of {len(text)} bytes"


def test_a_cut_through_a_character_leaves_the_text_before_it():
    value, remark = kept(b"x" + "ü".encode() * KEPT_BODY_MAX)

    assert value == "x" + "ü" * ((KEPT_BODY_MAX - 1) // 2)
    assert remark.startswith("cut off")


@pytest.mark.parametrize("body", [b"\xff\xfe{\x00}\x00", b"\0\1\2", b"\x1f\x8b\x08"])
def test_bytes_that_are_no_text_are_not_kept(body: bytes):
    value, remark = kept(body)

    assert value is None
    assert "not text" in remark


def test_json_of_any_depth_can_be_kept():
    value, _ = kept(b'{"a":' * 500 + b"1" + b"}" * 500)

    assert orjson.dumps(value)
