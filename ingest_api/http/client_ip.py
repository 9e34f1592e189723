"""The client's address: the peer's, or the one that a trusted proxy reports."""

import ipaddress
import re
from collections.abc import Iterable

from schema.settings import Network

# Bits of an IPv6 address that one client has for certain.
COUNTED_PREFIX = 64

# "[2001:db8::1]:443" and "192.0.2.1:443", as some proxies write them.
_with_port = re.compile(r"\[(.+)\](?::\d+)?|([^:]+):\d+")


class ClientAddresses:
    """Finds the client's address, and tells whether it is exempt from the rate limit."""

    def __init__(self, trusted: Iterable[Network], exempt: Iterable[Network]) -> None:
        self._trusted = tuple(trusted)
        self._exempt = tuple(exempt)

    def find(self, peer: str, forwarded: str | None) -> str:
        """Return the client's address.

        That is `peer`, unless `peer` is a trusted proxy: then the last address in
        `forwarded` (an X-Forwarded-For header) that is not a trusted proxy's. Addresses
        before it come from the client and are ignored.
        """
        if not forwarded or not self._trusted:
            return peer
        client = peer
        for hop in reversed(forwarded.split(",")):
            if not _within(client, self._trusted):
                break
            try:
                client = str(ipaddress.ip_address(_without_port(hop.strip())))
            except ValueError:
                break
        return client

    def counted(self, client: str) -> str:
        """Return what the rate limit counts for a client: its IPv4 address, or the /64 network of its IPv6 address.

        A single IPv6 user commonly has a whole /64 (RFC 6177). A zone is left out, a mapped IPv4 address unmapped.
        """
        if ":" not in client:
            return client
        try:
            address = ipaddress.IPv6Address(client.partition("%")[0])
        except ValueError:
            return client
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.IPv6Network((address, COUNTED_PREFIX), strict=False))

    def is_exempt(self, client: str) -> bool:
        """Tell whether `client` has no rate limit."""
        return bool(self._exempt) and _within(client, self._exempt)


def _without_port(hop: str) -> str:
    match = _with_port.fullmatch(hop)
    return (match[1] or match[2]) if match else hop


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)
