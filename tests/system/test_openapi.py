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

from .fuzzing import fuzz, log_of_defects

COMMON = {"X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
TOKEN = {"401", "403"}
BODY = {"400", "408", "413", "415"}
UNDER_API = {"405", "406", "429", "500"}

STATUSES = {
    ("post", "/api/login_check"): {"200", "401", "503"} | BODY | UNDER_API,
    ("post", "/api/leads"): {"202", "409", "503"} | TOKEN | BODY | UNDER_API,
    ("get", "/api/leads"): {"200", "304", "400", "503"} | TOKEN | UNDER_API,
    ("get", "/api/leads/export"): {"200", "400", "503"} | TOKEN | UNDER_API,
    ("post", "/api/leads/bulk"): {"202", "409", "503"} | TOKEN | BODY | UNDER_API,
    ("get", "/api/leads/stats"): {"200", "400", "503"} | TOKEN | UNDER_API,
    ("get", "/api/leads/{lead}"): {"200", "404", "503"} | TOKEN | UNDER_API,
    ("get", "/api/dead-letters"): {"200", "400", "503"} | TOKEN | UNDER_API,
    ("post", "/api/dead-letters/replay"): {"200", "404", "503"} | TOKEN | BODY | UNDER_API,
    ("get", "/health/live"): {"200", "405", "500"},
    ("get", "/health/ready"): {"200", "405", "500", "503"},
    ("get", "/metrics"): {"200", "405", "500"},
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
        assert response["headers"].keys() - {"Location", "Link", "ETag", "Cache-Control"} == COMMON | more.get(
            status, set()
        )
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


@pytest.mark.slow
def test_no_request_gets_an_answer_that_the_document_does_not_describe(tmp_path: Path):
    with Service(tmp_path) as service:
        options = ("--max-examples", "15", "--workers", "2", "--seed", "7")
        done = fuzz(service, *options, timeout=110, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

        assert done.returncode == 0, done.stdout.decode()[-6000:] + log_of_defects(service)
        assert re.search(r"Selected: (\d+)/\1\b", done.stdout.decode())
