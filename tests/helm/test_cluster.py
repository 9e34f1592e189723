"""What a real Kubernetes API, with its admission and controllers, makes of the chart. No pod really runs."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helm import chart
from tests.helm.chart import SETS, VALUES
from tests.helm.release import PREFIX, Release
from tests.kit.kubernetes import PROGRAMS, Kubernetes, need
from tests.kit.pod_metrics import PodMetrics
from tests.kit.servers import until

need("helm", *PROGRAMS)

pytestmark = [pytest.mark.extended, pytest.mark.slow]

DEFAULT = VALUES / "default.yaml"

# A key is made within seconds; here it need not be.
IMAGE = f"lead-ingest:{chart.APP_VERSION}"
NEXT = "lead-ingest:next"


@pytest.mark.parametrize("name", SETS)
def test_the_api_server_knows_every_field(kubernetes: Kubernetes, name: str):
    strict = ("apply", "--dry-run=server", "--validate=strict", "--namespace", "default", "--filename", "-")
    text = chart.template("--values", VALUES / f"{name}.yaml").replace("namespace: leads", "namespace: default")

    kubernetes.kubectl(*strict, stdin=text)
    wrong = kubernetes.kubectl(*strict, stdin=text.replace("enableServiceLinks", "enableServiceLink"), check=False)

    assert 'unknown field "spec.template.spec.enableServiceLink"' in wrong.stderr


def test_it_is_installed_upgraded_rolled_back_removed_and_installed_again(release: Release):
    kubernetes, namespace = release.kubernetes, release.namespace

    said = release.install(DEFAULT)

    assert "violate" not in said.stderr
    for piece in (f"service/{PREFIX}-api", "get secret leads-app", "/api/login_check", "/api/leads"):
        assert piece in said.stdout
    assert [len(release.ready(each)) for each in ("api", "worker", "beat", "operate")] == [2, 2, 1, 0]
    assert len({pod["spec"]["nodeName"] for pod in release.ready("api")}) == 2
    assert release.images() == {IMAGE}
    done = completed_jobs(kubernetes, namespace)
    assert done.keys() == {f"{PREFIX}-migrate-before", f"{PREFIX}-migrate-after"}
    first_pod = min(pod["metadata"]["creationTimestamp"] for pod in release.pods("api"))
    assert done[f"{PREFIX}-migrate-before"] <= first_pod <= done[f"{PREFIX}-migrate-after"]
    assert kubernetes.get("jobs", namespace) == []
    # What the first job had before the release was there is gone with it.
    names = {each["metadata"]["name"] for each in kubernetes.get("secrets", namespace)}
    assert not [name for name in names if name.endswith("-hook")]
    key = release.one("secret", "tokens")["data"]

    release.upgrade(DEFAULT, {"image.tag": "next", "api.replicas": 3})

    until(lambda: release.images() == {NEXT}, 60, 0.5)
    assert len(release.ready("api")) == 3
    assert release.one("secret", "tokens")["data"] == key
    assert len(completed_jobs(kubernetes, namespace)) == 2

    # The key of the tokens is changed, as docs/kubernetes.md says, and a rollback does not bring the old one back.
    key = {"jwt-private.pem": base64.b64encode(b"another").decode()}
    patch = ("--namespace", namespace, "--patch", json.dumps({"data": key}))
    kubernetes.kubectl("patch", "secret", f"{PREFIX}-tokens", *patch)
    release.helm("rollback", "1")

    until(lambda: release.images() == {IMAGE}, 60, 0.5)
    until(lambda: len(release.pods("api")) == 2, 60, 0.5)
    assert release.one("secret", "tokens")["data"] == key

    release.helm("uninstall")

    until(lambda: not kubernetes.get("pods", namespace), 60, 0.5)
    left = {
        each["metadata"]["name"]
        for kind in ("deployments", "services", "networkpolicies", "pdb", "roles", "configmaps", "secrets")
        for each in kubernetes.get(kind, namespace)
        if each["metadata"]["name"].startswith(PREFIX)
    }
    assert left == {f"{PREFIX}-tokens"}

    release.install(DEFAULT)

    assert release.one("secret", "tokens")["data"] == key


def test_the_trial_is_installed_with_nothing_else_and_keeps_its_passwords(release: Release):
    give_volumes(release.kubernetes, release.namespace)

    said = release.install(VALUES / "trial.yaml", storage(release))
    passwords = {each: release.one("secret", each)["data"] for each in ("redis", "mysql", "app")}
    release.upgrade(VALUES / "trial.yaml", {**storage(release), "api.replicas": 1})

    assert "violate" not in said.stderr
    assert "This is the trial" in said.stdout
    assert [len(release.ready(each)) for each in ("redis", "mysql", "flower")] == [1, 1, 1]
    assert {each: release.one("secret", each)["data"] for each in passwords} == passwords
    assert len({password for data in passwords.values() for password in data.values()}) == 4


def test_the_restricted_standard_is_enforced_and_lets_every_pod_in(release: Release):
    kubernetes, namespace = release.kubernetes, release.namespace
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": namespace},
        "spec": {"containers": [{"name": "root", "image": "root"}]},
    }

    refused = kubernetes.kubectl("create", "--filename", "-", stdin=json.dumps(pod), check=False)
    said = release.install(DEFAULT, {"flower.enabled": "true"})
    kubernetes.kubectl("scale", f"deployment/{PREFIX}-operate", "--replicas=1", "--namespace", namespace)

    assert 'violates PodSecurity "restricted' in refused.stderr
    assert "violate" not in said.stderr
    until(lambda: len(release.ready("operate")) == 1, 60, 0.5)
    assert [len(release.ready(each)) for each in ("api", "worker", "beat", "flower")] == [2, 2, 1, 1]


def test_the_api_grows_and_shrinks_with_its_processors(release: Release):
    fast = {"api.hpa.enabled": "true", "api.hpa.maxReplicas": 5, "api.hpa.scaleDownAfter": 0}
    with PodMetrics(release.kubernetes) as metrics:
        metrics.cpu = "350m"  # 70 % of what a pod asks for
        release.install(DEFAULT, fast)

        def current() -> int | None:
            status = release.one("hpa", "api").get("status", {})
            found = [each["resource"]["current"] for each in status.get("currentMetrics") or () if "resource" in each]
            return int(found[0]["averageUtilization"]) if found else None

        until(lambda: current() == 70, 60, 0.5)
        until(lambda: len(release.ready("api")) == 2, 60, 0.5)

        metrics.cpu = "900m"
        until(lambda: len(release.ready("api")) == 5, 90, 0.5)

        metrics.cpu = "10m"
        until(lambda: len(release.pods("api")) == 2, 120, 0.5)

        # An upgrade leaves the number to the autoscaler.
        metrics.cpu = "900m"
        until(lambda: len(release.ready("api")) == 5, 90, 0.5)
        release.upgrade(DEFAULT, {**fast, "pod.labels.again": "yes"})
        assert len(release.pods("api")) >= 5


def test_a_drain_waits_for_the_disruption_budget(release: Release):
    kubernetes = release.kubernetes
    release.install(DEFAULT)
    status = until(
        lambda: release.one("pdb", "api")["status"].get("expectedPods") and release.one("pdb", "api")["status"]
    )
    assert (status["expectedPods"], status["desiredHealthy"], status["disruptionsAllowed"]) == (2, 1, 1)
    first, second = sorted({pod["spec"]["nodeName"] for pod in release.ready("api")})
    (third,) = {each["metadata"]["name"] for each in kubernetes.get("nodes")} - {first, second}
    drain = ("drain", "--ignore-daemonsets", "--delete-emptydir-data", "--force")
    try:
        kubernetes.kubectl("cordon", first, second, third)

        kubernetes.kubectl(*drain, first, "--timeout=60s")
        # Nowhere is room for another, so the last one stays.
        refused = kubernetes.kubectl(*drain, second, "--timeout=8s", check=False)

        assert refused.returncode != 0
        assert "violate the pod's disruption budget" in refused.stderr
        assert {pod["spec"]["nodeName"] for pod in release.ready("api")} == {second}
        assert release.ready("worker")

        kubernetes.kubectl("uncordon", third)
        kubernetes.kubectl(*drain, second, "--timeout=60s")

        for component in ("api", "worker", "beat"):
            until(lambda component=component: release.ready(component), 60, 0.5)
            assert {pod["spec"]["nodeName"] for pod in release.ready(component)} == {third}
    finally:
        kubernetes.kubectl("uncordon", first, second, third)


def test_a_process_of_the_next_release_waits_for_the_last_old_one(release: Release, tmp_path: Path):
    release.install(DEFAULT)

    # A mirror or a sidecar does not make another release of it.
    changed = [{"op": "replace", "path": "/spec/containers/0/image", "value": "mirror.example.com/lead-ingest:0"}]
    name = release.pods("api")[0]["metadata"]["name"]
    patch = ("--namespace", release.namespace, "--type=json", "--patch", json.dumps(changed))
    release.kubernetes.kubectl("patch", "pod", name, *patch)

    alone = rollout(release, tmp_path, "ordered", IMAGE, "api", "worker", "beat")
    too_early = rollout(release, tmp_path, "ordered", NEXT, "api", timeout=1)
    without_right = rollout(release, tmp_path, "", NEXT, "api", timeout=1)

    assert (alone.returncode, alone.stdout) == (0, "No api or worker or beat of another release runs.\n")
    assert too_early.returncode == 1
    assert all(pod["metadata"]["name"] in too_early.stderr for pod in release.pods("api"))
    assert without_right.returncode == 1
    assert "the Kubernetes API answers 403" in without_right.stderr

    waiting = start_rollout(release, tmp_path, "ordered", NEXT, "api", "worker", timeout=120)
    try:
        assert waiting.poll() is None
        release.upgrade(DEFAULT, {"image.tag": "next"})
        said, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
        waiting.wait()
    assert waiting.returncode == 0
    assert said.startswith(f"Waiting: another release runs in {PREFIX}-api-")
    assert said.endswith("No api or worker of another release runs.\n")


def test_what_waits_may_list_pods_and_nothing_else(release: Release):
    release.install(DEFAULT)

    def may(account: str, verb: str, kind: str) -> bool:
        user = f"--as=system:serviceaccount:{release.namespace}:{PREFIX}{account}"
        asked = ("auth", "can-i", verb, kind, user, "--namespace", release.namespace)
        return release.kubernetes.kubectl(*asked, check=False).stdout.strip() == "yes"

    assert may("-ordered", "list", "pods")
    assert not any(may("-ordered", verb, "pods") for verb in ("get", "delete", "create", "watch"))
    assert not any(may("-ordered", "list", kind) for kind in ("secrets", "configmaps", "deployments"))
    assert not may("", "list", "pods")


def completed_jobs(kubernetes: Kubernetes, namespace: str) -> dict[str, str]:
    """Return the jobs that ended well, those that are gone too, and when each first did."""
    found: dict[str, str] = {}
    for event in sorted(kubernetes.get("events", namespace), key=lambda event: str(event["firstTimestamp"])):
        if event["involvedObject"]["kind"] == "Job" and event["reason"] == "Completed":
            found.setdefault(event["involvedObject"]["name"], event["firstTimestamp"])
    return found


def storage(release: Release) -> dict[str, str]:
    """Return values that name the volumes of this namespace."""
    return {f"trial.{each}.storageClass": release.namespace for each in ("redis", "mysql")}


def give_volumes(kubernetes: Kubernetes, namespace: str) -> None:
    """Make two volumes, which a claim of the namespace's StorageClass is bound to."""
    kubernetes.apply(
        *(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"{namespace}-{number}"},
                "spec": {
                    "storageClassName": namespace,
                    "capacity": {"storage": "10Gi"},
                    "accessModes": ["ReadWriteOnce"],
                    "hostPath": {"path": f"/volumes/{namespace}-{number}"},
                },
            }
            for number in range(2)
        )
    )


def rollout(
    release: Release, directory: Path, account: str, image: str, *components: str, timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run compose.production.rollout to its end."""
    process = start_rollout(release, directory, account, image, *components, timeout=timeout)
    stdout, stderr = process.communicate(timeout=60 + timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start_rollout(
    release: Release, directory: Path, account: str, image: str, *components: str, timeout: float
) -> "subprocess.Popen[str]":
    """Start it as an init container of the chart has it: with the files of a service account."""
    name = f"{PREFIX}-{account}" if account else PREFIX
    files = directory / (account or "none")
    files.mkdir(exist_ok=True)
    kubernetes = release.kubernetes
    token = kubernetes.kubectl("create", "token", name, "--namespace", release.namespace).stdout
    (files / "token").write_text(token)
    (files / "namespace").write_text(release.namespace)
    (files / "ca.crt").write_bytes((kubernetes.directory / "ca.crt").read_bytes())
    options = ("--instance", "leads", "--image", image, "--timeout", str(timeout), "--account", str(files))
    return subprocess.Popen(
        [sys.executable, "-m", "compose.production.rollout", *options, *components],
        env={**os.environ, "KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(kubernetes.port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
