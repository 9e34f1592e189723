"""The Postman collection: complete, and green against the started service."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.leads import a_lead
from tests.kit.service import Service

from . import postman

# What no client can provoke at will: there are examples of it.
EXAMPLES_ONLY = {408, 429, 500, 503}

# The folder of what a source sends with its API key.
SOURCES = "Sources (an API key)"


@pytest.fixture
def newman() -> None:
    """newman must be installed; in CI it is."""
    if not postman.NEWMAN.exists():
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report("newman is not installed: make postman-test does it")


def items(folder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in folder["item"]:
        yield from items(item) if "item" in item else [item]


def collection() -> list[dict[str, Any]]:
    return list(items(json.loads(postman.COLLECTION.read_text())))


def path_of(item: dict[str, Any]) -> str:
    """Return the path of an item's request as the OpenAPI document writes it."""
    path = "/" + "/".join(item["request"]["url"]["path"])
    return re.sub(r"/api/leads/({{lead}}|[0-9a-f-]{36})$", "/api/leads/{lead}", path)


def run(service: Service, directory: Path, *options: str, **variables: str) -> dict[str, Any]:
    """Run the collection; return newman's report of a run without failures."""
    report = directory / "report.json"
    options = (*options, "--reporters", "cli,json", "--reporter-json-export", str(report))
    done = subprocess.run(
        postman.command(service.base_url, *options, **variables),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    return dict(json.loads(report.read_text())["run"])


def test_newman_is_green(newman: None, embedded: Service, tmp_path: Path):
    # A list of more than one page, or there is no next one to ask for.
    embedded.wait_until_stored(*embedded.accept(*[a_lead() for _ in range(3)]))

    found = run(embedded, tmp_path, **postman.admin(embedded), **postman.source(embedded))

    assert found["stats"]["assertions"]["failed"] == 0
    # Each request has tests, and each of them was sent.
    executed = {execution["item"]["name"] for execution in found["executions"] if execution.get("response")}
    assert executed == {item["name"] for item in collection()}
    assert all(execution.get("assertions") for execution in found["executions"])
    tokens = {each["key"]: each.get("value") for each in json.loads(postman.ENVIRONMENT.read_text())["values"]}
    assert tokens["token"] == ""


def test_without_an_api_key_what_needs_one_is_left_out(newman: None, embedded: Service, tmp_path: Path):
    embedded.wait_until_stored(*embedded.accept(*[a_lead() for _ in range(3)]))

    found = run(embedded, tmp_path, **postman.admin(embedded))

    (folder,) = [each for each in json.loads(postman.COLLECTION.read_text())["item"] if each["name"] == SOURCES]
    left_out = {item["name"] for item in items(folder)}
    assert len(left_out) == 9
    executed = {execution["item"]["name"] for execution in found["executions"] if execution.get("response")}
    assert executed == {item["name"] for item in collection()} - left_out


def test_a_token_whose_hour_is_over_is_made_anew(newman: None, embedded: Service, tmp_path: Path):
    expired = "e30.eyJleHAiOjF9.x"
    (name,) = [item["name"] for item in collection() if item["name"] == "Send a lead"]
    done = subprocess.run(
        postman.command(embedded.base_url, "--folder", name, token=expired),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_every_endpoint_and_every_error_has_an_example(embedded: Service):
    document = embedded.get("/api/openapi.json", token=None).json()
    examples: dict[tuple[str, str], set[int]] = {}
    for item in collection():
        method = item["request"]["method"].lower()
        codes = {response["code"] for response in item["response"]}
        examples.setdefault((method, path_of(item)), set()).update(codes)

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                assert {int(status) for status in operation["responses"]} <= examples[method, path], path


def test_every_error_that_can_be_provoked_is(embedded: Service):
    document = embedded.get("/api/openapi.json", token=None).json()
    statuses = {int(status) for status in document["components"]["responses"]}

    tested = {int(code) for item in collection() for code in re.findall(r"to\.have\.status\((\d+)\)", json.dumps(item))}

    assert statuses - EXAMPLES_ONLY <= tested


def test_what_a_source_may_be_told_has_an_example(embedded: Service):
    responses = embedded.get("/api/openapi.json", token=None).json()["components"]["responses"]
    examples = {
        each["value"]["message"]
        for status in ("403", "409", "429", "503")
        for name, each in responses[status]["content"]["application/json"]["examples"].items()
        if name in ("api_key", "role_of_key", "duplicate", "source_rate", "source_cap", "keys")
    }

    for name in ("Send a lead", "Send leads in bulk"):
        (item,) = [each for each in collection() if each["name"] == name]
        told = {json.loads(each["body"])["message"] for each in item["response"]}
        assert examples <= told
