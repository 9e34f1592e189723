"""The chart as helm renders it."""

import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.kubernetes import find_tool

ROOT = Path(__file__).parents[2]
CHART = ROOT / "compose" / "helm" / "lead-ingest"
VALUES = Path(__file__).parent / "values"
GOLDEN = Path(__file__).parent / "golden"

APP_VERSION = str(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"])

# Sets of values whose rendering is kept in golden/.
SETS = ("default", "sentinel", "cluster", "scaled", "trial")

# Values with which the chart renders at once: making a key takes seconds.
SECRETS = {
    "redis.existingSecret": "leads-redis",
    "mysql.existingSecret": "leads-mysql",
    "app.existingSecret": "leads-app",
    "tokens.existingSecret": "leads-tokens",
}

# The oldest Kubernetes that the chart is for.
OLDEST = "1.34.0"

Manifest = dict[str, Any]

# Files that the chart quotes, and how far they are indented there.
EMBEDDED = {"alerts.yml": "  ", "overview.json": "    "}

# What helm writes about each symbolic link of a chart, on standard error.
LINK = re.compile(r"^walk\.go:\d+: found symbolic link in path.*\n", re.MULTILINE)


def helm(
    *arguments: str | Path, check: bool = True, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run helm; skip the test when there is none."""
    program = find_tool("helm")
    if program is None:
        pytest.skip("helm is not installed: tests/install-kubernetes builds it")
    done = subprocess.run(
        [program, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    done.stderr = LINK.sub("", done.stderr)
    assert not check or done.returncode == 0, done.stderr
    return done


def template(*arguments: str | Path, kubernetes: str = OLDEST) -> str:
    """Return what the chart renders as the release `leads`."""
    return helm("template", "leads", CHART, "--namespace", "leads", "--kube-version", kubernetes, *arguments).stdout


@functools.cache
def rendered(name: str) -> str:
    """Return what the chart renders of a set of values, without the values that are made at random."""
    text = template("--values", VALUES / f"{name}.yaml")
    return re.sub(
        r"^(  (?:jwt-private\.pem|password|first-password|flower-password): )\S{20,}$",
        r"\1(made)",
        text,
        flags=re.MULTILINE,
    )


def golden(name: str) -> str:
    """Return the rendering as its golden file has it: without the files of compose/monitoring that it quotes."""
    text = rendered(name)
    for path, indent in EMBEDDED.items():
        quoted = "\n".join(indent + line for line in (CHART / "files" / path).read_text().splitlines())
        text = text.replace(quoted, f"{indent}# files/{path}")
    return text


def manifests(text: str) -> list[Manifest]:
    """Return the objects in a rendering."""
    return [each for each in yaml.safe_load_all(text) if each]


def given(values: dict[str, Any]) -> list[str]:
    """Return the arguments that give values by their dotted names."""
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def refusal(values: dict[str, Any], *, base: dict[str, Any] = SECRETS) -> str:
    """Return the sentence with which the chart refuses values that are added to `base`."""
    arguments = given({**base, **values})
    done = helm("template", "leads", CHART, "--kube-version", OLDEST, *arguments, check=False)
    assert done.returncode != 0, f"the chart accepts {values}"
    assert not done.stdout
    return done.stderr


def find(objects: list[Manifest], kind: str, name: str) -> Manifest:
    """Return one object by its kind and the end of its name."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    return found


def pod_specs(objects: list[Manifest]) -> dict[str, Manifest]:
    """Return the specifications of all pods, by the name of what makes them."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] in ("Deployment", "StatefulSet", "Job")
    }


def environment(spec: Manifest) -> dict[str, str]:
    """Return the environment of a pod's only container; a value from a Secret is `SECRET/KEY`."""
    (container,) = spec["containers"]
    found = {}
    for each in container.get("env", ()):
        source = each.get("valueFrom", {}).get("secretKeyRef", {})
        found[each["name"]] = f"{source['name']}/{source['key']}" if source else each["value"]
    return found
