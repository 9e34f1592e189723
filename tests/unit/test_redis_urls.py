"""schema.settings.redis_urls: the addresses of a Redis under Sentinel, and of a Redis Cluster."""

import pytest

from schema.settings import Settings
from schema.settings.redis_urls import ClusterUrl, SentinelUrl


def test_hosts_ports_name_and_credentials_are_found():
    url = "redis+sentinel://queue:p%40ss%2Fword@one,two:26380,[2001:db8::1]:26381/leads"

    assert SentinelUrl.parse(url) == SentinelUrl(
        (("one", 26379), ("two", 26380), ("2001:db8::1", 26381)), "leads", "queue", "p@ss/word"
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one",
        "redis+sentinel://one/",
        "redis+sentinel:///leads",
        "redis+sentinel://one,,two/leads",
        "redis+sentinel://one:port/leads",
        "redis+sentinel://one/leads/0",
        "redis+sentinel://one/leads?db=1",
    ],
)
def test_another_form_is_refused(url: str):
    with pytest.raises(ValueError, match=r"^must be redis\+sentinel://"):
        SentinelUrl.parse(url)


def test_nodes_ports_and_credentials_of_a_cluster_are_found():
    url = "redis+cluster://queue:p%40ss%2Fword@one,two:7001,[2001:db8::1]:7002"

    nodes = (("one", 6379), ("two", 7001), ("2001:db8::1", 7002))
    assert ClusterUrl.parse(url) == ClusterUrl(nodes, "queue", "p@ss/word")


@pytest.mark.parametrize("url", ["redis+cluster://one", "redis+cluster://one/"])
def test_one_node_without_credentials_is_enough(url: str):
    assert ClusterUrl.parse(url) == ClusterUrl((("one", 6379),), "", "")


def test_a_password_alone_is_the_default_users():
    found = ClusterUrl.parse("redis+cluster://:secret@one")

    assert (found.username, found.password) == ("", "secret")


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster:///",
        "redis+cluster://one,,two",
        "redis+cluster://one,",
        "redis+cluster://one:port",
        "redis+cluster://one:123456",
        # A Cluster has one database, and no name.
        "redis+cluster://one/0",
        "redis+cluster://one/leads",
        "redis+cluster://one?db=1",
        "redis+cluster://secret@one",
    ],
)
def test_another_form_of_a_cluster_is_refused(url: str):
    with pytest.raises(ValueError, match=r"^must be redis\+cluster://") as caught:
        ClusterUrl.parse(url)

    assert "secret" not in str(caught.value)


def test_celery_gets_each_sentinel_with_the_credentials():
    settings = Settings(redis_url="redis+sentinel://queue:p%40ss@one,[2001:db8::1]:1/leads")

    assert settings.celery_broker_url == "sentinel://queue:p%40ss@one:26379;sentinel://queue:p%40ss@[2001:db8::1]:1"
    assert settings.broker_sentinel_name == "leads"


def test_celery_gets_the_sentinels_of_a_broker_of_its_own():
    settings = Settings(redis_url="redis+cluster://one", broker_url="redis+sentinel://two/tickets")

    assert settings.celery_broker_url == "sentinel://two:26379"
    assert settings.broker_sentinel_name == "tickets"
