"""The URL of a Redis under Sentinel: redis+sentinel://[user:password@]host[:port],host[:port]/NAME."""

import re
from typing import NamedTuple
from urllib.parse import unquote

SCHEME = "redis+sentinel://"
PORT = 26379  # of a Sentinel, unless the URL names another

_form = re.compile(
    r"redis\+sentinel://(?:(?P<user>[^:@/]*):(?P<password>[^@/]*)@)?(?P<hosts>[^@/?]+)/(?P<name>[\w.-]+)"
)
_host = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?")


class SentinelUrl(NamedTuple):
    """Where the Sentinels are, and what they call the primary."""

    sentinels: tuple[tuple[str, int], ...]  # host and port
    name: str
    username: str  # of Redis; empty: none
    password: str

    @classmethod
    def parse(cls, url: str) -> "SentinelUrl":
        """Parse a URL that begins with SCHEME. Raises ValueError."""
        found = _form.fullmatch(url)
        hosts = [_host.fullmatch(each) for each in found["hosts"].split(",")] if found else []
        if found is None or not all(hosts):
            raise ValueError("must be redis+sentinel://[user:password@]host[:port],host[:port]/NAME")
        sentinels = tuple((each[1].strip("[]"), int(each[2] or PORT)) for each in hosts if each)
        return cls(sentinels, found["name"], unquote(found["user"] or ""), unquote(found["password"] or ""))
