"""The client's address: the peer's, or the one that a trusted proxy reports."""

import ipaddress
from collections.abc import Iterable

from schema.settings import Network


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
                client = str(ipaddress.ip_address(hop.strip()))
            except ValueError:
                break
        return client

    def is_exempt(self, client: str) -> bool:
        """Tell whether `client` has no rate limit."""
        return bool(self._exempt) and _within(client, self._exempt)


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)
