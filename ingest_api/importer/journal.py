"""The journal of an import: its progress and the rejected rows, in two files beside the imported one."""

import contextlib
import csv
import fcntl
import hashlib
import io
import os
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import orjson

from ingest_api.importer.rows import Row

# Most bytes at the file's beginning that are hashed, to detect a changed file.
HEAD = 1024 * 1024

# TTL of an Idempotency-Key (LEADS_IDEMPOTENCY_TTL's default), less an hour; seconds.
KEYS_LIVE = 23 * 3600


class CannotResume(Exception):
    """An import cannot begin or resume; the message says why."""


@dataclass
class State:
    """An import's progress. Rows before `offset` are accepted or rejected; the batch after it may have been sent."""

    id: str
    url: str
    batch: int  # rows
    offset: int  # bytes
    line: int
    accepted: int = 0
    rejected: int = 0
    rejects_size: int = 0  # bytes
    unsure: bool = False  # whether the batch after `offset` may have been accepted
    saved: float = 0.0  # seconds since 1970
    head_size: int = 0
    head: str = ""
    done: bool = False
    sender: str = ""  # who sends; "" in journals of release 0.1

    @property
    def key(self) -> str:
        """The Idempotency-Key of the batch after `offset`."""
        return f"import-{self.id}-{self.offset}"


class Journal:
    """The two files beside the imported one: FILE.import.json, and its rejects."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file = path.with_name(f"{path.name}.import.json")
        self.rejects = path.with_name(f"{path.stem}.rejects{path.suffix}")
        self._lock: IO[bytes] | None = None

    def lock(self) -> None:
        """Lock the file against other imports until this process ends.

        Raises CannotResume when another import has the lock.
        """
        self._lock = self._path.open("rb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotResume(f"Another import of {self._path} is under way.") from None

    def begin(self, url: str, batch: int, start: int, line: int) -> State:
        """Start from the first row and delete the rejects of an earlier import.

        Raises CannotResume when there are rejects but no journal: another program may have made them.
        """
        if self.rejects.exists() and not self.file.exists():
            raise CannotResume(f"{self.rejects} is there already: move it away, since rejected rows go there.")
        self.rejects.unlink(missing_ok=True)
        return State(str(uuid.uuid4()), url, batch, start, line)

    def read(self, url: str, *, is_resolved: bool) -> State | None:
        """Return the state at which the last import stopped, and truncate the rejects to it; None without a journal.

        `is_resolved`: the user has said what to do with rows whose result is unknown. Raises CannotResume.
        """
        try:
            state = State(**orjson.loads(self.file.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            raise CannotResume(f"{self.file} cannot be read: --again begins from the first row.") from None
        if state.url != url:
            raise CannotResume(f"{self._path} was sent to {state.url} before: --again sends all of it to {url}.")
        if (state.head_size, state.head) != self._known(state.head_size) or self._path.stat().st_size < state.offset:
            raise CannotResume(f"{self._path} has changed since: --again sends all of it.")
        if state.unsure and not is_resolved and time.time() - state.saved > KEYS_LIVE:
            raise CannotResume(
                f"The import stopped within a request, too long ago to know whether the {state.batch} rows from line "
                f"{state.line + 1} on were stored. See whether they are; then --unsure skip or --unsure send."
            )
        if self.rejects.exists():
            os.truncate(self.rejects, state.rejects_size)
        return state

    def claim(self, state: State, sender: str) -> None:
        """Let `sender` go on with the import: an Idempotency-Key is good for the one who used it first alone.

        Raises CannotResume when another has begun it.
        """
        if state.sender and state.sender.casefold() != sender.casefold():
            raise CannotResume(f"{self._path} was sent by {state.sender} before: --again sends all of it by {sender}.")
        state.sender = sender

    def save(self, state: State) -> None:
        """Write the state atomically; it is on disk on return."""
        state.saved = time.time()
        if not state.head:
            state.head_size, state.head = self._known(min(HEAD, self._path.stat().st_size))
        draft = self.file.with_name(f"{self.file.name}.new")
        with draft.open("wb") as file:
            file.write(orjson.dumps(asdict(state), option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.file)

    def reject(self, state: State, rows: list[Row], columns: list[str]) -> None:
        """Append rows with their reasons to the rejects, on disk on return. They count only once `save` is called."""
        if not rows:
            return
        with self.rejects.open("ab") as file:
            if not file.tell() and columns:
                file.write(_csv(["_line", "_errors", *columns]))
            for row in rows:
                file.write(_as_csv(row) if columns else _as_json(row))
            file.flush()
            os.fsync(file.fileno())
            state.rejects_size = file.tell()
        state.rejected += len(rows)

    def _known(self, size: int) -> tuple[int, str]:
        with self._path.open("rb") as file:
            return size, hashlib.sha256(file.read(size)).hexdigest()


def _as_csv(row: Row) -> bytes:
    reasons = "; ".join(f"{name}: {' '.join(messages)}" for name, messages in row.errors.items())
    return _csv([str(row.line), reasons, *row.source])


def _as_json(row: Row) -> bytes:
    source: object = row.source[0]
    with contextlib.suppress(orjson.JSONDecodeError):
        source = orjson.loads(row.source[0])
    return orjson.dumps({"line": row.line, "errors": row.errors, "lead": source}) + b"\n"


def _csv(values: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
