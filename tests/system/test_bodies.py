"""Bodies that are no JSON, too large, in another form, or slow."""

import json
import socket
import time

import pytest

from tests.kit.leads import a_lead, assert_error, assert_success
from tests.kit.service import Service

from . import raw

MIB = 1024 * 1024

POSTS = ("/api/leads", "/api/leads/bulk", "/api/login_check")


def padded(content: object, size: int) -> bytes:
    """Write JSON and fill it up with blanks."""
    return json.dumps(content).encode().ljust(size)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n\t",
        b"{",
        b"}",
        b'{"firstName": "Ada"',
        b"{'firstName': 'Ada'}",
        b'{"firstName": "Ada",}',
        b"{} {}",
        b"{}x",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"additionalData":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        b'{"firstName": "\xff\xfe"}',
        b'{"firstName": "\xc3("}',
        b'{"firstName": "\xed\xa0\x80"}',
        b'{"firstName": "\xf8\x88\x80\x80\x80"}',
        b'{"firstName": "\xc0\xaf"}',
        rb'{"firstName": "\ud800"}',
        rb'{"firstName": "\udc00\ud800"}',
        rb'{"firstName": "\x41"}',
        rb'{"firstName": "\u12"}',
        b'{"firstName": "a\x00b"}',
        b'{"firstName": "a\nb"}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 01}',
        b'{"a": .5}',
        b'{"a": 0x10}',
        b"\x00",
        b"\xef\xbb\xbf{}",
        '{"firstName": "Ada"}'.encode("utf-16"),
        b"firstName=Ada&lastName=Lovelace",
        b"<lead/>",
        b"nul",
        b'"',
        b"// comment\n{}",
    ],
    ids=lambda body: ascii(body[:30]),
)
@pytest.mark.parametrize("path", POSTS)
def test_what_is_no_json_is_refused(service: Service, path: str, body: bytes):
    assert_error(service.post(path, body), 400, "Validation failed")


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e400", "-1e400", "1" * 5000, "0." + "1" * 5000, "1e-400", "-0"])
def test_a_huge_number_is_stored_or_refused_and_breaks_nothing(service: Service, number: str):
    body = json.dumps(a_lead(additionalData={"n": "@"})).replace('"@"', number).encode()

    answer = service.post("/api/leads", body)

    if answer.status_code == 202:
        service.wait_until_stored(answer.json()["data"]["id"])
    else:
        assert_error(answer, 400, "Validation failed")


def test_of_a_key_given_twice_the_last_counts(service: Service):
    body = json.dumps(a_lead()).replace('"Ada"', '"Eve", "firstName": "Ada"').encode()

    assert assert_success(service.post("/api/leads", body), 202)["firstName"] == "Ada"


def test_escapes_are_read_as_what_they_stand_for(service: Service):
    body = json.dumps(a_lead()).replace('"Ada"', r'"\u0041d\u0061 \ud83d\ude00"').encode()

    assert assert_success(service.post("/api/leads", body), 202)["firstName"] == "Ada 😀"


@pytest.mark.parametrize("path", ["/api/leads", "/api/login_check"])
def test_a_body_of_1_mib_is_read_and_one_byte_more_is_413(service: Service, path: str):
    content = a_lead() if path == "/api/leads" else {"email": "test@example.com", "password": "password123"}

    assert service.post(path, padded(content, MIB)).status_code in (200, 202)
    assert_error(service.post(path, padded(content, MIB + 1)), 413)


def test_a_bulk_body_of_8_mib_is_read_and_one_byte_more_is_413(service: Service):
    assert_success(service.post("/api/leads/bulk", padded([a_lead()], 8 * MIB)), 202)
    assert_error(service.post("/api/leads/bulk", padded([a_lead()], 8 * MIB + 1)), 413)


@pytest.mark.parametrize(("size", "code"), [(1000, 202), (MIB, 202), (MIB + 1, 413), (4 * MIB, 413)])
def test_the_bound_holds_for_a_chunked_body_too(service: Service, size: int, code: int):
    body = padded(a_lead(), size)
    pieces = [body[start : start + 100_000] for start in range(0, size, 100_000)]
    head = raw.request(service, "POST", "/api/leads", Content_Length=b"", Transfer_Encoding=b"chunked")

    answer = raw.exchange(service, head, raw.chunked(pieces))

    assert answer.status_code == code, answer.text


def test_a_length_that_is_too_large_is_refused_before_the_body_is_sent(service: Service):
    head = raw.request(service, "POST", "/api/leads", Content_Length=b"99999999999")

    assert_error(raw.exchange(service, head), 413)


def test_a_body_that_comes_slowly_is_taken(service: Service):
    body = json.dumps(a_lead()).encode()
    head = raw.request(service, "POST", "/api/leads", Content_Length=str(len(body)))
    with socket.create_connection(("127.0.0.1", service.port), raw.TIMEOUT) as connection:
        connection.sendall(head)
        # The pace is the point here: no result is waited for.
        for at in range(0, len(body), 20):
            connection.sendall(body[at : at + 20])
            time.sleep(0.05)

        assert_success(raw.receive(connection), 202)


def test_a_client_that_leaves_before_its_body_is_whole_sends_no_lead(service: Service):
    lead = a_lead()
    body = json.dumps(lead).encode()
    head = raw.request(service, "POST", "/api/leads", Content_Length=str(len(body)))
    with socket.create_connection(("127.0.0.1", service.port), raw.TIMEOUT) as connection:
        connection.sendall(head + body[:-5])

    marker = service.accept(a_lead())
    service.wait_until_stored(*marker)
    assert service.page(email=lead["email"])["items"] == []


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonx",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "json",
        ";",
        "application/",
    ],
)
@pytest.mark.parametrize("path", POSTS)
def test_another_media_type_is_415(service: Service, path: str, media_type: str):
    request = raw.request(service, "POST", path, json.dumps(a_lead()).encode(), Content_Type=media_type)

    assert_error(raw.exchange(service, request), 415)


def test_ndjson_is_for_bulk_alone(service: Service):
    assert_error(service.post("/api/leads", a_lead(), Content_Type="application/x-ndjson"), 415)


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "application/json;"]
)
def test_json_in_utf_8_is_taken_however_it_is_spelled(service: Service, media_type: str):
    assert service.post("/api/leads", a_lead(), Content_Type=media_type).status_code == 202


def test_a_compressed_body_is_415(service: Service):
    assert_error(service.post("/api/leads", b"\x1f\x8b\x08", Content_Encoding="gzip"), 415)
