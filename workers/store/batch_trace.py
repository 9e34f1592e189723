"""What storing tells about a batch to its trace; this one keeps nothing. `batch_spans` has the one that makes spans."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from schema.queue.entries import Entry
from workers.store.consumer import Claimed

_NOTHING = nullcontext()


class BatchTrace:
    """The trace of one batch, from the claim to the end of the block. This one makes no spans."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the batch, which has failed when there is a `kind`."""

    def insert(self, rows: int) -> AbstractContextManager[object]:
        """Return the block of one run of the transaction."""
        return _NOTHING

    def acknowledged(self, entries: Iterable[Entry]) -> None:
        """Take down that entries are stored and removed from the queue."""

    def dead_letter(self, entry: Entry) -> None:
        """Take down that an entry has become a dead letter."""


# Makes the trace of what was claimed, since a moment in nanoseconds since 1970.
TraceBatch = Callable[[Claimed, int], BatchTrace]

UNTRACED = BatchTrace()


def untraced(_: Claimed, __: int) -> BatchTrace:
    """Make no spans."""
    return UNTRACED
