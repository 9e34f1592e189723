"""What the chart renders, for sets of values that users have: the same as ever, and as it has to be."""

import dataclasses
import re
import tarfile
from pathlib import Path

import pytest
import yaml

from compose.helm.shards import tags
from schema import __version__
from schema.settings import Settings, variable
from schema.settings.shards import shards_of
from tests.helm import chart
from tests.helm.chart import CHART, GOLDEN, OLDEST, ROOT, SECRETS, SETS, given, manifests, rendered
from tests.kit.kubernetes import need

need("helm")

MONITORING = ROOT / "compose" / "monitoring"

# What a pod of the restricted Pod Security Standard must say, of itself and of each container.
POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@pytest.mark.parametrize("name", SETS)
def test_helm_finds_nothing_to_say_about_the_chart(name: str):
    said = chart.helm("lint", CHART, "--strict", "--kube-version", OLDEST, "--values", chart.VALUES / f"{name}.yaml")

    assert "0 chart(s) failed" in said.stdout
    assert "[WARNING]" not in said.stdout


@pytest.mark.parametrize("name", SETS)
def test_the_rendering_is_that_of_the_golden_file(name: str):
    assert chart.golden(name) == (GOLDEN / f"{name}.yaml").read_text(), "python -m tests.helm.golden writes it anew"


@pytest.mark.parametrize("name", SETS)
def test_a_pod_has_no_right_that_it_does_not_need(name: str):
    for pod, spec in chart.pod_specs(manifests(rendered(name))).items():
        assert spec["securityContext"].items() >= POD_SECURITY.items(), pod
        assert spec["automountServiceAccountToken"] is False, pod
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            assert container["securityContext"] == CONTAINER_SECURITY, pod
            assert container["resources"]["limits"]["memory"], pod
        for volume in spec["volumes"]:
            assert volume.keys() & {"emptyDir", "secret", "configMap", "projected"}, pod


@pytest.mark.parametrize("name", SETS)
def test_a_token_of_the_kubernetes_api_is_in_the_container_that_waits_alone(name: str):
    for pod, spec in chart.pod_specs(manifests(rendered(name))).items():
        holders = [
            container["name"]
            for container in (*spec.get("initContainers", ()), *spec["containers"])
            if any(mount["name"] == "token" for mount in container["volumeMounts"])
        ]
        assert holders in ([], ["order"]), pod


def test_a_container_gets_the_passwords_of_its_own_accounts_alone():
    objects = manifests(rendered("sentinel"))
    held = {
        name.removeprefix("leads-lead-ingest-"): {
            value for value in chart.environment(spec).values() if re.fullmatch(r"leads-\w+/[\w-]+", value)
        }
        for name, spec in chart.pod_specs(objects).items()
    }

    assert held == {
        "api": {"leads-redis/api", "leads-mysql/api"},
        "worker": {"leads-redis/worker", "leads-mysql/worker"},
        "beat": {"leads-redis/worker"},
        "flower": {"leads-redis/flower", "leads-app/flower-password"},
        "migrate-before": {
            "leads-redis/migrate",
            "leads-mysql/migrate",
            "leads-app/first-password",
            "leads-app/flower-password",
        },
        "migrate-after": {"leads-redis/migrate", "leads-mysql/migrate"},
        "operate": {"leads-redis/migrate", "leads-mysql/migrate"},
    }


def test_each_environment_is_one_that_the_settings_accept(monkeypatch: pytest.MonkeyPatch):
    from schema import settings

    for name in SETS:
        for pod, spec in chart.pod_specs(manifests(rendered(name))).items():
            variables = {each: value for each, value in chart.environment(spec).items() if each.startswith("LEADS_")}
            if not variables:
                continue  # a server of the trial
            with monkeypatch.context() as patched:
                for variable_name, value in variables.items():
                    patched.setenv(
                        variable_name, re.sub(r"\$\(\w+\)|^[\w-]+/[\w-]+-password$", "a.password-123", value)
                    )
                found = settings.load()
            assert found.redis_url, pod
            assert set(variables) <= {variable(each.name) for each in dataclasses.fields(Settings)}, pod


def test_a_pod_lives_longer_than_its_drain_and_closes_no_door_before_the_nodes_know():
    arguments = given({**SECRETS, "api.stop.endpoints": 7, "api.stop.drain": 20, "api.stop.requests": 30})
    spec = chart.pod_specs(manifests(chart.template(*arguments)))["leads-lead-ingest-api"]

    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 7}}}
    assert chart.environment(spec)["LEADS_HTTP_DRAIN"] == "20"
    assert chart.environment(spec)["LEADS_HTTP_SHUTDOWN_TIMEOUT"] == "30"
    assert spec["terminationGracePeriodSeconds"] > 7 + 20 + 30


def test_no_probe_takes_a_pod_away_because_a_server_is():
    objects = manifests(rendered("default"))
    probes = {
        name.removeprefix("leads-lead-ingest-"): spec["containers"][0]
        for name, spec in chart.pod_specs(objects).items()
    }

    # /health/ready says 503 while the database is away, and an API without it accepts leads.
    for each in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert probes["api"][each]["httpGet"]["path"] == "/health/live"
    # The worker's file is not touched while Redis is away.
    assert "worker.alive" not in str(probes["worker"]["livenessProbe"])
    assert "worker.alive" in str(probes["worker"]["readinessProbe"])


def test_workers_wait_for_the_api_beat_for_both_and_the_last_migrations_for_all():
    objects = manifests(rendered("default"))
    specs = chart.pod_specs(objects)

    waits = {
        name.removeprefix("leads-lead-ingest-"): [word for word in each["args"] if not word.startswith("--")]
        for name, spec in specs.items()
        for each in spec.get("initContainers", ())
        if each["name"] == "order"
    }
    assert waits == {"worker": ["api"], "beat": ["api", "worker"], "migrate-after": ["api", "worker", "beat"]}
    assert chart.find(objects, "Deployment", "-beat")["spec"]["strategy"] == {"type": "Recreate"}


def test_the_migrations_are_in_their_phases():
    objects = manifests(rendered("default"))
    first, second = (chart.find(objects, "Job", each) for each in ("migrate-before", "migrate-after"))

    assert first["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert first["spec"]["template"]["spec"]["containers"][0]["command"][1:] == ["-m", "compose.production", "--before"]
    assert second["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    assert second["spec"]["template"]["spec"]["containers"][0]["command"][1:] == ["-m", "schema", "migrate"]


def test_a_deployment_that_is_scaled_has_no_number_of_its_own():
    objects = manifests(rendered("scaled"))
    scaled = {each["spec"]["scaleTargetRef"]["name"] for each in objects if each["kind"] == "HorizontalPodAutoscaler"}

    assert scaled == {"leads-lead-ingest-api", "leads-lead-ingest-worker"}
    for name in scaled:
        assert "replicas" not in chart.find(objects, "Deployment", name)["spec"]
    assert chart.find(objects, "Deployment", "-beat")["spec"]["replicas"] == 1
    by_backlog = manifests(rendered("cluster"))
    assert "replicas" not in chart.find(by_backlog, "Deployment", "-worker")["spec"]
    assert not [each for each in by_backlog if each["kind"] == "HorizontalPodAutoscaler"]


@pytest.mark.parametrize("number", [1, 3, 64])
def test_keda_asks_for_the_stream_of_each_shard_and_for_no_consumer_group(number: int):
    arguments = given({**SECRETS, "redis.shards": number})
    objects = manifests(chart.template("--values", chart.VALUES / "cluster.yaml", *arguments))
    spec = chart.find(objects, "ScaledObject", "-worker")["spec"]

    shards = shards_of("redis+cluster://node-0", number, is_cluster=True)
    assert [each["metadata"]["stream"] for each in spec["triggers"]] == [each.name("leads:stream") for each in shards]
    for trigger in spec["triggers"]:
        assert trigger["type"] == "redis-cluster-streams"
        assert trigger["metadata"].keys().isdisjoint({"consumerGroup", "pendingEntriesCount", "lagCount"})
        assert trigger["metadata"]["streamLength"] == "1000000"
    names = [each["name"] for each in spec["triggers"]]
    formula = spec["advanced"].get("scalingModifiers", {}).get("formula", names[0])
    assert formula.split(" + ") == names


def test_the_tags_of_the_shards_are_those_of_the_code():
    assert yaml.safe_load((CHART / "files" / "shards.json").read_text()) == tags(), "make docs writes them anew"


def test_rules_and_dashboard_are_those_of_compose_also_in_a_package(tmp_path: Path):
    objects = manifests(rendered("scaled"))
    rules, dashboard = MONITORING / "prometheus" / "alerts.yml", MONITORING / "grafana" / "dashboards" / "overview.json"

    assert chart.find(objects, "PrometheusRule", "")["spec"] == yaml.safe_load(rules.read_text())
    assert (
        chart.find(objects, "ConfigMap", "-dashboard")["data"]["lead-ingest.json"].strip()
        == dashboard.read_text().strip()
    )
    jobs = {
        relabeling["replacement"]
        for kind, endpoints in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints"))
        for relabeling in chart.find(objects, kind, "")["spec"][endpoints][0]["relabelings"]
    }
    assert jobs == set(re.findall(r'up{job="([\w-]+)"}', rules.read_text()))
    chart.helm("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    with tarfile.open(package) as archive:
        for source in (rules, dashboard):
            (name,) = [
                each for each in archive.getnames() if each.endswith({rules: "alerts.yml"}.get(source, "overview.json"))
            ]
            found = archive.extractfile(name)
            assert found is not None
            assert found.read() == source.read_bytes()


def test_a_password_that_is_given_is_the_one_in_the_secret_and_in_its_copy_for_the_first_job():
    objects = manifests(rendered("scaled"))

    made = chart.find(objects, "Secret", "-redis")
    copy = chart.find(objects, "Secret", "-redis-hook")
    assert made["data"] == copy["data"]
    assert made["data"].keys() == {"api", "worker", "migrate"}
    assert made["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    job = chart.find(objects, "Job", "migrate-before")["spec"]["template"]["spec"]
    assert chart.environment(job)["REDIS_PASSWORD"] == "leads-lead-ingest-redis-hook/migrate"


def test_the_first_job_finds_its_network_policy_and_the_key_which_no_manifest_of_the_release_has():
    objects = manifests(rendered("default"))

    job = chart.find(objects, "Job", "migrate-before")["metadata"]["annotations"]
    for before in (chart.find(objects, "NetworkPolicy", "-migrate"), chart.find(objects, "Secret", "-tokens")):
        hook = before["metadata"]["annotations"]
        assert set(job["helm.sh/hook"].split(",")) <= set(hook["helm.sh/hook"].split(","))
        assert int(hook["helm.sh/hook-weight"]) < int(job["helm.sh/hook-weight"])


def test_metrics_are_not_for_the_outside():
    objects = manifests(rendered("scaled"))

    (rule,) = chart.find(objects, "Ingress", "")["spec"]["rules"]
    (route,) = chart.find(objects, "HTTPRoute", "")["spec"]["rules"]
    assert [each["path"] for each in rule["http"]["paths"]] == ["/api", "/health", "/page", "/"]
    assert [each["path"]["value"] for each in route["matches"]] == ["/api", "/health", "/page", "/"]


@pytest.mark.parametrize("off", ["settings.LEADS_PAGE=false", "api.settings.LEADS_PAGE=0"])
def test_without_the_page_its_paths_are_free_for_others(off: str):
    objects = manifests(chart.template("--values", chart.VALUES / "scaled.yaml", "--set", off))

    (rule,) = chart.find(objects, "Ingress", "")["spec"]["rules"]
    (route,) = chart.find(objects, "HTTPRoute", "")["spec"]["rules"]
    assert [each["path"] for each in rule["http"]["paths"]] == ["/api", "/health"]
    assert [each["path"]["value"] for each in route["matches"]] == ["/api", "/health"]


def test_the_chart_is_of_the_codes_version():
    described = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert described["appVersion"] == __version__
