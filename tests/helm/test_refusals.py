"""Values that do not go together end the rendering with one sentence that names them."""

import pytest

from tests.helm.chart import SECRETS, refusal
from tests.kit.kubernetes import need

need("helm")

CLUSTER = {"redis.form": "cluster", "redis.shards": 3}
TRIAL = {"trial.enabled": "true", "redis.existingSecret": "", "mysql.existingSecret": ""}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"api.hpa.enabled": "true", "api.hpa.minReplicas": 11}, "api.hpa.minReplicas is 11, more than"),
        ({"api.hpa.enabled": "true", "api.resources.requests.cpu": "null"}, "api.resources.requests.cpu is empty"),
        (
            {"worker.autoscaler": "hpa", "worker.resources.requests.cpu": "null"},
            "worker.resources.requests.cpu is empty",
        ),
        (CLUSTER, "broker.hosts is empty: a Redis Cluster needs a broker of its own"),
        (CLUSTER | {"broker.hosts[0]": "broker:6379"}, "broker.existingSecret is empty"),
        ({"redis.shards": 3}, "redis.shards is 3: more than one are for redis.form cluster"),
        ({"redis.form": "sentinel", "redis.tls": "true"}, "redis.tls is for a single Redis"),
        ({"redis.caSecret": "ca"}, "redis.caSecret is for redis.tls, which is off"),
        (
            {"redis.hosts[0]": "a:6379", "redis.hosts[1]": "b:6379"},
            "redis.hosts names 2 servers, and redis.form is single",
        ),
        ({"redis.existingSecret": ""}, "redis.existingSecret is empty: name a Secret"),
        ({"mysql.existingSecret": ""}, "mysql.existingSecret is empty: name a Secret"),
        ({"app.existingSecret": ""}, "app.existingSecret is empty: name a Secret"),
        (
            {"app.existingSecret": "", "app.firstPassword": "long-enough-1", "flower.enabled": "true"},
            "app.flowerPassword is empty",
        ),
        ({"mysql.replicas": 1}, "mysql.replicas is 1, and mysql.readHost names no replica"),
        ({"trial.enabled": "true"}, "trial.enabled brings a Redis and a MySQL of its own"),
        (TRIAL | {"redis.tls": "true"}, "trial.enabled brings a Redis and a MySQL of its own"),
        (TRIAL | {"mysql.port": 3307}, "trial.enabled brings a Redis and a MySQL of its own"),
        (
            {"monitoring.enabled": "true", "networkPolicy.clients[0].podSelector.matchLabels.app": "edge"},
            "networkPolicy.monitoring is empty: networkPolicy.clients shuts Prometheus out",
        ),
        ({"ingress.enabled": "true", "api.trustedProxies[0]": "10.0.0.0/8"}, "ingress.host is empty"),
        ({"gateway.enabled": "true", "api.trustedProxies[0]": "10.0.0.0/8"}, "gateway.parents is empty"),
        ({"ingress.enabled": "true", "ingress.host": "a.example"}, "api.trustedProxies is empty"),
        ({"settings.LEADS_REDIS_URL": "redis://a"}, "LEADS_REDIS_URL is set by the chart, from the value redis.hosts"),
        ({"worker.settings.LEADS_WORKER_CONCURRENCY": 3}, "from the value worker.processes"),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_a_sentence(values: dict[str, object], sentence: str):
    said = refusal(values)

    assert sentence in said
    assert len([line for line in said.splitlines() if line and "--debug" not in line]) <= 3


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"api.replica": 3}, "'replica' not allowed"),
        ({"api.replicas": 0}, "/api/replicas"),
        ({"worker.keda.minReplicas": 0}, "/worker/keda/minReplicas"),
        ({"worker.autoscaler": "both"}, "/worker/autoscaler"),
        ({"api": "null"}, "'api'"),
        ({"worker.keda": "null"}, "'keda'"),
        ({"redis.hosts": "null"}, "'hosts'"),
        ({"redis.accounts.api": "null"}, "'api'"),
        ({"redis.hosts[0]": "redis:99999"}, "/redis/hosts/0"),
        ({"mysql.host": "http://mysql"}, "/mysql/host"),
        ({"ingress.host": "https://a.example"}, "/ingress/host"),
        ({"image.repository": "foo bar"}, "/image/repository"),
        ({"trial.redis.size": "big"}, "/trial/redis/size"),
        ({"settings.LEADS_LOG_LEVEL": "VERBOSE"}, "LEADS_LOG_LEVEL"),
        ({"api.settings.LEADS_RATE_LIMIT": "many"}, "LEADS_RATE_LIMIT"),
        ({"redis.form": "cluser"}, "/redis/form"),
        ({"redis.hosts[0]": "redis"}, "/redis/hosts/0"),
        ({"redis.shards": 65}, "/redis/shards"),
        ({"redis.passwords.api": "short"}, "/redis/passwords/api"),
        ({"redis.passwords.api": "has@a.sign.of.urls"}, "/redis/passwords/api"),
        ({"app.firstPassword": "password123"}, "/app/firstPassword"),
        ({"api.settings.LEADS_RATE_LIMITS": 5}, "'LEADS_RATE_LIMITS' not allowed"),
        ({"api.trustedProxies[0]": "everybody"}, "/api/trustedProxies/0"),
        ({"api.trustedProxies[0]": "10.0.0.0/99"}, "/api/trustedProxies/0"),
        ({"broker.form": "cluster"}, "/broker/form"),
        ({"monitoring.interval": 60}, "/monitoring/interval"),
        ({"image.digest": "latest"}, "/image/digest"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_by_its_place(values: dict[str, object], place: str):
    assert place in refusal(values)


def test_nothing_at_all_is_refused_with_the_first_secret_that_is_missing():
    assert "redis.existingSecret is empty: name a Secret with the passwords of its accounts" in refusal({}, base={})


def test_the_same_values_without_what_is_wrong_are_accepted():
    with pytest.raises(AssertionError, match="the chart accepts"):
        refusal({"worker.autoscaler": "keda"}, base=SECRETS)
