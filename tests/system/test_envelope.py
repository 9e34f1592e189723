"""What every answer has, whatever the question."""

import re

import httpx
import pytest

from tests.kit.leads import a_lead, assert_common_headers, assert_error, assert_success
from tests.kit.service import EMAIL, PASSWORD, Service

from . import raw

UNKNOWN_ID = "01a20469-8d21-74b8-89d6-f73e33b9e6f5"

ALLOWED = {
    "/api/login_check": {"POST"},
    "/api/leads": {"GET", "POST", "HEAD"},
    "/api/leads/bulk": {"POST"},
    "/api/leads/stats": {"GET", "HEAD"},
    f"/api/leads/{UNKNOWN_ID}": {"GET", "HEAD"},
    "/health/live": {"GET", "HEAD"},
    "/health/ready": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
}


@pytest.mark.parametrize("path", ALLOWED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_method_that_a_path_does_not_have_is_405_with_those_it_has(service: Service, path: str, method: str):
    if method in ALLOWED[path]:
        return

    answer = service.client.request(method, path, headers=service.headers())

    assert_error(answer, 405)
    allowed = {each.strip() for each in answer.headers["Allow"].split(",")}
    assert allowed - {"OPTIONS"} == ALLOWED[path]


@pytest.mark.parametrize("path", [path for path, methods in ALLOWED.items() if "GET" in methods])
def test_head_answers_as_get_without_the_body(service: Service, path: str):
    get = service.get(path)

    head = service.client.head(path, headers=service.headers())

    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert_common_headers(head)


@pytest.mark.parametrize("path", ALLOWED)
def test_options_names_the_methods(service: Service, path: str):
    answer = service.client.request("OPTIONS", path)

    assert answer.status_code in (200, 204)
    assert {each.strip() for each in answer.headers["Allow"].split(",")} - {"OPTIONS"} == ALLOWED[path]
    assert_common_headers(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/leads/a/b",
        "/api/LEADS",
        "/health",
        "/health/",
        "/favicon.ico",
        "/api//leads",
        "/api/leads/../leads/../x",
        "/%00",
        "/%ff",
        "/api/%2e%2e/etc/passwd",
        "/api/leads%2Fbulk/x",
    ],
)
def test_an_unknown_path_is_404(service: Service, path: str):
    request = raw.request(service, "GET", path)

    assert_error(raw.exchange(service, request, method="GET"), 404)


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "BREW", "PROPFIND"])
def test_a_strange_method_is_refused(service: Service, method: str):
    answer = raw.exchange(service, raw.request(service, method, "/api/leads"), method=method)

    assert 400 <= answer.status_code < 500 or answer.status_code == 501


@pytest.mark.parametrize("accept", ["application/json", "*/*", "application/*", "text/html, */*;q=0.1", ""])
def test_json_is_the_answer_when_the_client_takes_it(service: Service, accept: str):
    assert_success(service.get("/api/leads", headers={"Accept": accept}), 200)


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*", "application/json;q=0", "text/html;q=1"])
def test_another_form_is_406_and_the_envelope_is_json_all_the_same(service: Service, accept: str):
    for answer in (
        service.get("/api/leads", headers={"Accept": accept}),
        service.post("/api/leads", a_lead(), Accept=accept),
        service.post("/api/login_check", {}, Accept=accept),
    ):
        assert_error(answer, 406)


@pytest.mark.parametrize("accept", ["x", ";;;", "a/b/c", "application/json;q=x", ",", "/", "*"])
def test_a_broken_accept_breaks_nothing(service: Service, accept: str):
    answer = service.get("/api/leads", headers={"Accept": accept})

    assert answer.status_code in (200, 400, 406)
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("accept", ["text/html", "application/xml"])
def test_errors_are_json_whatever_is_accepted(service: Service, accept: str):
    for path in ("/api/nothing", "/api/leads/nothing", "/api/leads?page=0"):
        answer = service.get(path, headers={"Accept": accept})

        assert 400 <= answer.status_code < 500
        assert_error(answer, answer.status_code)


@pytest.mark.parametrize("given", ["a", "7f3c9a", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "Root=1-67891233:abc_d.e"])
def test_a_sane_request_id_comes_back(service: Service, given: str):
    assert service.get("/api/leads", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given
    assert service.get("/api/nothing", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given
    assert service.get("/health/live", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 5000, b"a\xffb", b'"quoted"', b"{}", b"\xc3\xa9", b"<script>"])
def test_a_request_id_that_is_not_sane_is_replaced(service: Service, given: bytes):
    request = raw.request(service, "GET", "/api/leads", X_Request_Id=given)

    answer = raw.exchange(service, request, method="GET")

    assert answer.status_code == 200
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["X-Request-Id"])


def test_each_request_has_an_id_of_its_own(service: Service):
    ids = {service.get("/health/live").headers["X-Request-Id"] for _ in range(20)}

    assert len(ids) == 20


@pytest.mark.parametrize("path", ["/api/leads", "/api/nothing", "/health/live", "/health/ready", "/metrics", "/"])
def test_with_the_limit_turned_off_no_answer_has_its_headers(service: Service, path: str):
    answer = service.get(path)

    assert_common_headers(answer)
    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


def test_no_refusal_has_them_either(service: Service):
    answers: list[tuple[int, httpx.Response]] = [
        (400, service.post("/api/leads", {})),
        (400, service.post("/api/leads", b"{")),
        (400, service.get("/api/leads?page=x")),
        (401, service.get("/api/leads", token=None)),
        (401, service.post("/api/login_check", {"email": "a@example.com", "password": "x"})),
        (403, service.get("/api/leads", token="x")),
        (404, service.get(f"/api/leads/{UNKNOWN_ID}")),
        (405, service.client.delete("/api/leads")),
        (406, service.get("/api/leads", headers={"Accept": "text/html"})),
        (413, service.post("/api/leads", b" " * (1024 * 1024 + 1))),
        (415, service.post("/api/leads", a_lead(), Content_Type="text/plain")),
    ]

    for code, answer in answers:
        assert_error(answer, code)
        assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


def test_nothing_says_what_the_service_is_made_of(service: Service):
    for path in ("/api/leads", "/api/nothing"):
        answer = service.get(path)

        assert not {"server", "x-powered-by"} & {name.lower() for name in answer.headers}


def test_answers_with_a_token_or_one_lead_are_stored_by_nobody(service: Service):
    (lead_id,) = service.accept(a_lead())

    answers = [
        service.post("/api/login_check", {"email": EMAIL, "password": PASSWORD}, token=None),
        service.post("/api/leads", a_lead()),
        service.get(f"/api/leads/{lead_id}"),
        service.get("/api/leads/0190f5a0-1c2d-4e3f-8a4b-5c6d7e8f9a0b"),
    ]

    assert [(answer.status_code, answer.headers["Cache-Control"]) for answer in answers] == [
        (status, "no-store") for status in (200, 202, 200, 404)
    ]
