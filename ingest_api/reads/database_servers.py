"""Which database server is the primary, and how far the replica is, for the health check and the metrics."""

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ingest_api.database.reader_pool import ReaderPool
from ingest_api.database.replica import Replica
from schema.database.engines import Product, product_of

# Needs SELECT on that table, which a grant on the service's own database does not give.
_MEMBERS = text(
    "SELECT member_host, member_port, member_state, member_role "
    "FROM performance_schema.replication_group_members WHERE member_host <> ''"
)
_HERE = text("SELECT @@hostname, @@port, @@global.read_only")


class DatabaseServers:
    """Asks the database about itself."""

    def __init__(self, primary: ReaderPool, replica: Replica | None) -> None:
        self._primary = primary
        self._replica = replica

    async def read(self) -> dict[str, Any]:
        """Return what is known, by name; what is not known is left out. On SQLite that is nothing.

        `primary` is an address, `members` has the state of each member of a group by its address, and
        `replica_lag_seconds` is the time by which the replica is behind. Raises the 503.
        """
        known = await self._primary.in_snapshot(_known)
        if self._replica is not None:
            known["replica_lag_seconds"] = round(self._replica.lag_seconds, 3)
        return known


def _known(connection: Connection) -> dict[str, Any]:
    product = product_of(connection)
    if product is Product.SQLITE:
        return {}
    if product is Product.MYSQL:
        with suppress(DBAPIError):
            members = connection.execute(_MEMBERS).all()
            if members:
                return _of_group([(f"{host}:{port}", state, role) for host, port, state, role in members])
    host, port, is_read_only = connection.execute(_HERE).one()
    # Its connections may still lead to a server that was demoted.
    return {} if is_read_only else {"primary": f"{host}:{port}"}


def _of_group(members: list[tuple[str, str, str]]) -> dict[str, Any]:
    known: dict[str, Any] = {"members": {address: state for address, state, _ in members}}
    primaries = [address for address, state, role in members if (state, role) == ("ONLINE", "PRIMARY")]
    # In a group whose members all take writes none is the primary.
    if len(primaries) == 1:
        known["primary"] = primaries[0]
    return known
