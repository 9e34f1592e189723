"""What a run is made of: a queue and a database over several hosts, and the system that uses them."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from tests.kit.hosts import Host


class Queue(Protocol):
    """Redis servers over all hosts."""

    title: str  # for people
    settings: dict[str, str]  # of the service

    def install(self) -> None:
        """Give each host its units; called before the hosts start."""

    def form(self) -> None:
        """Make one of all servers, once they run."""

    def ill(self) -> str:
        """Return what is not well; "" when every server is there and every replica in sync."""

    def rebalance(self) -> None:
        """Do what an operator's controller does while the queue is not whole."""

    def primaries(self) -> list[Host]:
        """Return the hosts of the present primaries; [] while none is known."""

    def demote(self) -> str:
        """Let another server take over, as an operator does; return what was done."""


class Database(Protocol):
    """Database servers over all hosts."""

    title: str
    name: str  # of the service's database

    def install(self) -> None:
        """Start the hosts' servers and make one of them; called when the hosts run."""

    def url(self, host: Host) -> str:
        """Return the URL at which a host reaches the primary."""

    def ill(self) -> str:
        """Return what is not well; "" when every server is there."""

    def primary(self) -> Host | None:
        """Return the host of the present primary; None while none is known."""

    def demote(self) -> str:
        """Let another server take over, as an operator does; return what was done."""

    def ask(self, host: Host, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return the rows of a statement at one host's server; none while it does not answer."""

    def read_all(self, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return the rows of a statement, with everything that was committed before."""


class System(Protocol):
    """The service under test, on all hosts."""

    title: str
    port: int
    token: str

    def install(self) -> None:
        """Give each host its units, and make the tables."""

    def ill(self, host: Host) -> str:
        """Return what does not run on a host; "" when all does."""

    def found(self, leads: Sequence[str]) -> str:
        """Return the statement for the ids of those of these leads that are rows."""

    def waiting(self) -> int:
        """Return how many accepted leads are not stored yet."""

    def stored(self) -> list[tuple[str, str]]:
        """Return id and address of each row."""

    def dead(self) -> set[str]:
        """Return the ids of dead letters."""

    def balance(self) -> str:
        """Return the system's verdict on its own ledger; it begins with "Balanced" when it balances."""


def first_ill(parts: Iterable[str]) -> str:
    """Return the first of these that is not ""; "" when all are."""
    return next(filter(None, parts), "")
