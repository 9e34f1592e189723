"""schema.settings.sentinel_url: the address of a Redis under Sentinel."""

import pytest
from schema.settings.sentinel_url import SentinelUrl

from schema.settings import Settings


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


def test_celery_gets_each_sentinel_with_the_credentials():
    settings = Settings(redis_url="redis+sentinel://queue:p%40ss@one,[2001:db8::1]:1/leads")

    assert settings.broker_url == "sentinel://queue:p%40ss@one:26379;sentinel://queue:p%40ss@[2001:db8::1]:1"
