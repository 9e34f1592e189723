"""/api/openapi.json: valid, complete, and what the service really does."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.kit.service import Service

from .fuzzing import fuzz, key_of_source, log_of_defects, token_of_admin

COMMON = {"X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
TOKEN = {"401", "403"}
BODY = {"400", "408", "413", "415"}
UNDER_API = {"405", "406", "429", "500"}

# schemathesis parses code in its threads, and up to Python 3.11.7 ast.parse fails in two at once (cpython 106905).
ONE_THREAD = ("--workers", "1")

STATUSES = {
    ("post", "/api/login_check"): {"200", "401", "503"} | BODY | UNDER_API,
    ("post", "/api/leads"): {"202", "409", "503"} | TOKEN | BODY | UNDER_API,
    ("get", "/api/leads"): {"200", "304", "400", "503"} | TOKEN | UNDER_API,
    ("get", "/api/leads/export"): {"200", "400", "503"} | TOKEN | UNDER_API,
    ("get", "/api/leads/changes"): {"200", "400", "503"} | TOKEN | UNDER_API,
    ("post", "/api/leads/bulk"): {"202", "409", "503"} | TOKEN | BODY | UNDER_API,
    ("get", "/api/leads/stats"): {"200", "400", "503"} | TOKEN | UNDER_API,
    ("get", "/api/leads/{lead}"): {"200", "404", "503"} | TOKEN | UNDER_API,
    ("get", "/api/dead-letters"): {"200", "400", "503"} | TOKEN | UNDER_API,
    ("post", "/api/dead-letters/replay"): {"200", "404", "503"} | TOKEN | BODY | UNDER_API,
    ("get", "/health/live"): {"200", "405", "500"},
    ("get", "/health/ready"): {"200", "405", "500", "503"},
    ("get", "/metrics"): {"200", "405", "500"},
    ("get", "/"): {"200", "405", "500"},
    ("get", "/api/status"): {"200"} | TOKEN | UNDER_API,
    ("get", "/api/openapi.json"): {"200"} | UNDER_API,
    ("get", "/api/docs"): {"200", "405", "429", "500"},
}


@pytest.fixture
def document(embedded: Service) -> dict[str, Any]:
    return embedded.get("/api/openapi.json", token=None).json()


def resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference."""
    while "$ref" in part:
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((method, path, what) for method, what in methods.items() if method != "parameters")


def responses(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            yield status, resolved(document, response)


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]):
    assert document["openapi"].startswith("3.1")

    validate(document)


@pytest.mark.parametrize(("method", "path"), STATUSES)
def test_every_endpoint_names_every_status_it_may_answer_with(document: dict[str, Any], method: str, path: str):
    assert document["paths"][path][method]["responses"].keys() == STATUSES[method, path]


def test_every_response_names_its_headers(document: dict[str, Any]):
    more = {"401": {"WWW-Authenticate"}, "405": {"Allow"}, "429": {"Retry-After"}, "503": {"Retry-After"}}
    for status, response in responses(document):
        own = {"Location", "Link", "ETag", "Cache-Control", "X-Next-Cursor"}
        assert response["headers"].keys() - own == COMMON | more.get(status, set())
        for header in response["headers"].values():
            assert resolved(document, header)["description"]
    assert "Location" in document["paths"]["/api/leads"]["post"]["responses"]["202"]["headers"]


def test_every_body_has_examples_and_each_fits_its_schema(document: dict[str, Any]):
    bodies = [content for _, response in responses(document) for content in response.get("content", {}).items()]
    for _, _, operation in operations(document):
        if "requestBody" in operation:
            bodies += operation["requestBody"]["content"].items()
    checked = 0
    for kind, content in bodies:
        schema = {**content["schema"], "components": document["components"]}
        examples = content.get("examples", {})
        assert examples or kind == "application/x-ndjson"
        for name, example in examples.items():
            broken = [error.message for error in OAS31Validator(schema).iter_errors(example["value"])]
            assert not broken, (name, broken)
            checked += 1
    assert checked > 100


def test_the_limits_of_a_lead_and_of_a_list_are_there(document: dict[str, Any]):
    schemas = document["components"]["schemas"]
    lead = schemas["LeadInput"]
    parameters = {each.get("name"): each for each in document["paths"]["/api/leads"]["get"]["parameters"]}
    bulk = document["paths"]["/api/leads/bulk"]["post"]["requestBody"]["content"]

    assert set(lead["required"]) == {"firstName", "lastName", "email", "phone", "dateOfBirth"}
    assert lead["additionalProperties"] is False
    assert (lead["properties"]["firstName"]["minLength"], lead["properties"]["firstName"]["maxLength"]) == (1, 255)
    assert lead["properties"]["email"]["maxLength"] == 254
    assert (parameters["limit"]["schema"]["minimum"], parameters["limit"]["schema"]["maximum"]) == (1, 100)
    assert parameters["sortBy"]["schema"]["enum"] == ["createdAt", "firstName", "lastName", "email"]
    assert bulk["application/json"]["schema"]["maxItems"] == 1000
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_an_api_key_is_taken_where_the_document_says_so_and_nowhere_else(embedded: Service, document: dict[str, Any]):
    # Given the key of a source that may do all that one may
    key = key_of_source(embedded)

    # When each operation that wants somebody is sent it
    taken, named = set(), set()
    for method, path, operation in operations(document):
        schemes = {name for each in operation.get("security", []) for name in each}
        if schemes:
            answer = embedded.client.request(method, path, headers=embedded.headers(key))
            taken |= {operation["operationId"]} if answer.status_code != 403 else set()
            named |= {operation["operationId"]} if "apiKey" in schemes else set()

    # Then those take it that name it
    assert (
        taken == named == {"postLead", "postLeads", "listLeads", "getLead", "countLeads", "exportLeads", "followLeads"}
    )
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"


def test_what_sources_add_is_there(document: dict[str, Any]):
    pattern = "^[a-z0-9][a-z0-9._-]{0,39}$"
    for path in ("/api/leads", "/api/leads/stats", "/api/leads/export"):
        parameters = {each.get("name"): each for each in document["paths"][path]["get"]["parameters"]}
        assert parameters["source"]["schema"] == {"type": "string", "pattern": pattern}
        assert not parameters["source"]["required"]
    schemas = document["components"]["schemas"]
    assert schemas["Lead"]["properties"]["source"]["pattern"] == pattern
    assert "source" not in {*schemas["Lead"]["required"], *schemas["LeadInput"]["properties"]}
    answers = document["components"]["responses"]
    named = {status: answers[status]["content"]["application/json"]["examples"] for status in ("403", "429", "503")}
    assert named["403"]["api_key"]["value"]["message"] == "Invalid API key"
    assert "no API key is known yet" in named["503"]["keys"]["value"]["message"]
    assert {"source_rate", "source_cap"} <= named["429"].keys()


def test_the_example_of_a_csv_has_its_columns(embedded: Service, document: dict[str, Any]):
    content = document["paths"]["/api/leads/export"]["get"]["responses"]["200"]["content"]
    (example,) = content["text/csv"]["examples"].values()

    exported = embedded.get("/api/leads/export", params={"email": "nobody@example.com"}).text

    assert example["value"].splitlines()[0] == exported.splitlines()[0]


@pytest.mark.slow
def test_no_request_gets_an_answer_that_the_document_does_not_describe(tmp_path: Path):
    with Service(tmp_path) as service:
        options = ("--max-examples", "15", *ONE_THREAD, "--seed", "7")
        token = token_of_admin(service)
        done = fuzz(service, token, *options, timeout=110, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        assert done.returncode == 0, done.stdout.decode()[-6000:] + log_of_defects(service)
        assert re.search(r"Selected: (\d+)/\1\b", done.stdout.decode())


@pytest.mark.slow
def test_no_request_of_a_source_gets_an_answer_that_the_document_does_not_describe(tmp_path: Path):
    with Service(tmp_path) as service:
        options = ("--max-examples", "8", *ONE_THREAD, "--seed", "7")
        # No schema can say that a source may name none but itself.
        options = (*options, "--exclude-checks", "positive_data_acceptance")
        key = key_of_source(service)
        done = fuzz(service, key, *options, timeout=110, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        assert done.returncode == 0, done.stdout.decode()[-6000:] + log_of_defects(service)
        # It sent more than its limits allow, so that their 429s were among the answers.
        refused = re.findall(r"^leads_source_refused_total\{.*\} (\S+)$", service.get("/metrics").text, re.MULTILINE)
        assert sum(map(float, refused)) > 0
