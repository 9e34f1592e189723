"""The API: where it listens, how long it waits, how many requests a client has."""

import os
from dataclasses import dataclass

from schema.settings.declare import Network, number, setting


def _cores() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class HttpSettings:
    """The API: where it listens, how long it waits, how many requests a client has."""

    http_host: str = setting("127.0.0.1", "Address the API listens on.")
    http_port: int = number(8080, "Port the API listens on.", unit="port", low=1, high=65535)
    http_workers: int = number(
        _cores, "API processes; by default one for each core.", unit="processes", low=1, high=256
    )
    http_body_timeout: float = number(
        30.0, "Longest time a client may take to send its body.", unit="seconds", low=0.1, kind="float"
    )
    http_send_timeout: int = number(
        60,
        "Longest time a client may leave an answer unread before its connection is broken off. Needs Linux.",
        unit="seconds",
        low=1,
        high=86400,
    )
    http_shutdown_timeout: int = number(
        25, "Longest time a stopping API process gives its open requests.", unit="seconds", low=1
    )
    http_drain: float = number(
        0.0,
        "Longest time a stopping API process goes on answering on connections that are open, "
        "until whoever is in front of it has let go of them.",
        unit="seconds",
        low=0,
        kind="float",
    )
    rate_limit: int = number(
        1000, "Requests a window for each client IP; 0 turns the limit off.", unit="requests", low=0
    )
    rate_limit_window: int = number(60, "Length of a rate-limit window.", unit="seconds", low=1, high=86400)
    bulk_limit: int = number(
        100_000,
        "Leads that each user may send in bulk in a rate-limit window. 0, or `LEADS_RATE_LIMIT=0`, turns it off.",
        unit="leads",
        low=0,
    )
    rate_limit_timeout: float = number(
        0.05,
        "Longest time that a request which appends no lead waits to be counted; after it it goes on without a limit.",
        unit="seconds",
        low=0.001,
        high=60,
        kind="float",
    )
    rate_limit_exempt: tuple[Network, ...] = setting(
        (), "Client networks without a rate limit, comma-separated CIDR.", kind="networks"
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (), "Networks whose `X-Forwarded-For` is believed, comma-separated CIDR.", kind="networks"
    )
    page: bool = setting(
        True, "Whether `/` is the page for people. If not, it answers everybody with the links.", kind="bool"
    )
    list_max_age: int = number(
        0,
        "Time a client may show a list again without asking. 0: it asks each time, and gets 304 while nothing was "
        "stored.",
        unit="seconds",
        low=0,
        high=86400,
    )
