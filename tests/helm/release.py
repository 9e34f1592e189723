"""One release of the chart in a namespace of a control plane, which lets in what the restricted standard allows."""

import subprocess
from pathlib import Path
from typing import Any

from tests.helm.chart import CHART, Manifest, given, helm
from tests.kit.kubernetes import Kubernetes

PREFIX = "leads-lead-ingest"

# Passwords of the Secrets that an installation brings along, by Secret and key.
PASSWORDS = {
    "leads-redis": ("api", "worker", "flower", "migrate"),
    "leads-mysql": ("api", "worker", "migrate"),
    "leads-app": ("first-password", "flower-password"),
}


class Release:
    """The release `leads` in a namespace of its own."""

    def __init__(self, kubernetes: Kubernetes, namespace: str) -> None:
        """Make the namespace with its Secrets."""
        self.kubernetes = kubernetes
        self.namespace = namespace
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        secrets = [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": namespace},
                "stringData": dict.fromkeys(keys, "a.password-123"),
            }
            for name, keys in PASSWORDS.items()
        ]
        kubernetes.apply(made, *secrets)

    def helm(
        self, command: str, *arguments: str | Path, values: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run helm on the release, and wait until all of it is there."""
        where = ("--namespace", self.namespace, "--wait", "--timeout", "4m")
        return helm(command, "leads", *arguments, *where, *given(values or {}), environment=self.kubernetes.environment)

    def install(self, values_file: Path, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Install the chart."""
        return self.helm("install", CHART, "--values", values_file, values=values)

    def upgrade(self, values_file: Path, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Upgrade it."""
        return self.helm("upgrade", CHART, "--values", values_file, values=values)

    def pods(self, component: str) -> list[Manifest]:
        """Return the pods of a component that are not ending."""
        found = self.kubernetes.get("pods", self.namespace, f"app.kubernetes.io/component={component}")
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def ready(self, component: str) -> list[Manifest]:
        """Return those that are ready."""
        return [each for each in self.pods(component) if is_ready(each)]

    def images(self) -> set[str]:
        """Return the images that the pods of API, workers and beat run."""
        return {
            container["image"]
            for component in ("api", "worker", "beat")
            for pod in self.pods(component)
            for container in pod["spec"]["containers"]
        }

    def one(self, kind: str, suffix: str) -> Manifest:
        """Return one object by the end of its name."""
        return self.kubernetes.one(kind, f"{PREFIX}-{suffix}", self.namespace)


def is_ready(pod: Manifest) -> bool:
    """Tell whether a pod is ready."""
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
