"""Declares settings: default, description, type, unit and check. The reference shows all but the check."""

import ipaddress
from collections.abc import Callable
from dataclasses import field
from typing import Any

from marshmallow import ValidationError
from marshmallow.validate import Range

from schema.settings.redis_urls import CLUSTER_SCHEME, SENTINEL_SCHEME, ClusterUrl, SentinelUrl

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def setting(
    default: Any, doc: str, *, kind: str = "str", unit: str = "", check: Callable[[Any], object] | None = None
) -> Any:
    """Declare a setting. `kind` is the name of a parser of environs, or `networks`."""
    metadata = {"doc": doc, "kind": kind, "unit": unit, "check": check}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def number(default: Any, doc: str, *, unit: str, low: float, high: float | None = None, kind: str = "int") -> Any:
    """Declare a number from `low` to `high`, both included."""
    return setting(default, doc, kind=kind, unit=unit, check=Range(min=low, max=high))


def networks_of(texts: list[str]) -> tuple[Network, ...]:
    """Parse networks in CIDR. Raises ValueError."""
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts if text.strip())


def is_loopback(host: str) -> bool:
    """Tell whether a listener on `host` is reached from this machine only: a loopback address, or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_redis_url(url: str) -> None:
    """Check the URL of a Redis that holds a queue. Raises ValidationError."""
    if url.startswith(CLUSTER_SCHEME):
        try:
            ClusterUrl.parse(url)
        except ValueError as error:
            raise ValidationError(str(error)) from None
    else:
        check_broker_url(url)


def check_broker_url(url: str) -> None:
    """Check the URL of a Redis that is no Cluster. Raises ValidationError."""
    if url.startswith(SENTINEL_SCHEME):
        try:
            SentinelUrl.parse(url)
        except ValueError as error:
            raise ValidationError(str(error)) from None
    elif url and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValidationError(f"must begin with redis://, rediss://, unix:// or {SENTINEL_SCHEME}")


def check_database_url(url: str) -> None:
    """Check the URL of a database. Raises ValidationError."""
    if not url:
        return
    # Late import: beat and Flower have no database, and SQLAlchemy takes 0.3 s and 15 MB of each process.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        driver = make_url(url).drivername
    except ArgumentError:
        raise ValidationError("is not a database URL") from None
    if driver not in ("mysql+pymysql", "sqlite"):
        raise ValidationError("must begin with mysql+pymysql:// or sqlite:///")
