"""URLs of several Redis servers: redis+sentinel://...host,host/NAME, and redis+cluster://...host,host."""

import re
from typing import NamedTuple
from urllib.parse import unquote

SENTINEL_SCHEME = "redis+sentinel://"
SENTINEL_PORT = 26379  # unless the URL names another
CLUSTER_SCHEME = "redis+cluster://"
CLUSTER_PORT = 6379  # likewise

_CREDENTIALS = r"(?:(?P<user>[^:@/]*):(?P<password>[^@/]*)@)?"
_sentinel_form = re.compile(rf"redis\+sentinel://{_CREDENTIALS}(?P<hosts>[^@/?]+)/(?P<name>[\w.-]+)")
_cluster_form = re.compile(rf"redis\+cluster://{_CREDENTIALS}(?P<hosts>[^@/?]+)/?")
_host = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?")

Address = tuple[str, int]  # host and port


class SentinelUrl(NamedTuple):
    """Where the Sentinels are, and what they call the primary."""

    sentinels: tuple[Address, ...]
    name: str
    username: str  # of Redis; empty: none
    password: str

    @classmethod
    def parse(cls, url: str) -> "SentinelUrl":
        """Parse a URL that begins with SENTINEL_SCHEME. Raises ValueError."""
        found = _sentinel_form.fullmatch(url)
        hosts = _addresses(found["hosts"], SENTINEL_PORT) if found else ()
        if found is None or not hosts:
            raise ValueError("must be redis+sentinel://[user:password@]host[:port],host[:port]/NAME")
        return cls(hosts, found["name"], unquote(found["user"] or ""), unquote(found["password"] or ""))


class ClusterUrl(NamedTuple):
    """Some nodes of a Redis Cluster, which know the others."""

    nodes: tuple[Address, ...]
    username: str  # empty: none
    password: str

    @classmethod
    def parse(cls, url: str) -> "ClusterUrl":
        """Parse a URL that begins with CLUSTER_SCHEME. Raises ValueError."""
        found = _cluster_form.fullmatch(url)
        hosts = _addresses(found["hosts"], CLUSTER_PORT) if found else ()
        if found is None or not hosts:
            raise ValueError("must be redis+cluster://[user:password@]host[:port],host[:port]")
        return cls(hosts, unquote(found["user"] or ""), unquote(found["password"] or ""))


def _addresses(text: str, port: int) -> tuple[Address, ...]:
    """Parse addresses separated by commas; return none when one is wrong."""
    hosts = [_host.fullmatch(each) for each in text.split(",")]
    return tuple((each[1].strip("[]"), int(each[2] or port)) for each in hosts if each) if all(hosts) else ()
