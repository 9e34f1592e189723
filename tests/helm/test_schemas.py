"""Every object is valid for every supported release of Kubernetes, as kubeconform sees it."""

import functools
import json
import subprocess
from collections.abc import Callable

import pytest

from tests.helm.chart import SETS, VALUES, manifests, rendered, template
from tests.helm.schemas import CUSTOM, crds, releases, write
from tests.kit.kubernetes import need, tool

need("helm", "kubeconform")

RELEASES = releases()
if not RELEASES:
    pytest.skip("no schemas of Kubernetes here: tests/install-kubernetes fetches them", allow_module_level=True)

Check = Callable[[str], dict[str, object]]


@pytest.fixture(scope="module", params=RELEASES)
def check(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Check:
    """What kubeconform says of manifests, by one release of Kubernetes."""
    kinds = {each["kind"] for name in SETS for each in manifests(rendered(name))}
    place = write(request.param, kinds, tmp_path_factory.mktemp("schemas") / request.param)
    command = [tool("kubeconform"), "-strict", "-summary", "-output", "json", "-schema-location", place]
    return functools.partial(_check, command)


def _check(command: list[str], text: str) -> dict[str, object]:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=False)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", SETS)
def test_every_object_is_valid(name: str, check: Check):
    found = check(rendered(name))

    summary = found["summary"]
    assert isinstance(summary, dict)
    assert summary["valid"] > 10
    assert summary["invalid"] == summary["errors"] == summary["skipped"] == 0, found["resources"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("terminationGracePeriodSeconds:", "terminationGracePeriod:"),
        ("replicas: 2", "replicas: two"),
        ("containerPort: 8080", "containerPort: http"),
        ("pollingInterval: 5", "pollInterval: 5"),
    ],
)
def test_an_object_that_is_not_is_found(right: str, wrong: str, check: Check):
    text = rendered("default") + rendered("cluster")
    assert right in text

    found = check(text.replace(right, wrong))

    assert isinstance(found["summary"], dict)
    assert found["summary"]["invalid"] >= 1


def test_all_kinds_of_others_have_a_schema():
    assert {each["spec"]["names"]["kind"] for each in crds()} == set(CUSTOM)


def test_nothing_depends_on_the_release():
    texts = {template("--values", VALUES / "sentinel.yaml", kubernetes=f"1.{minor}.0") for minor in (34, 37)}

    assert len(texts) == 1
