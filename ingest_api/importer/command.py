"""The command `import`: uploads a file in batches, keeps a journal, shows progress, and can be stopped and resumed."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import orjson
from click.core import ParameterSource
from marshmallow import ValidationError

from ingest_api.http.items import BULK_MAX, NOT_SPELLED_OUT, SPELLED_OUT_MAX
from ingest_api.importer.journal import CannotResume, Journal, State
from ingest_api.importer.rows import BadFile, CsvFile, Errors, NdjsonFile, Row, open_rows
from ingest_api.importer.uploads import ApiKey, Credentials, Login, Stopped, UploadFailed, Uploads
from schema.lead import codec, rules
from schema.lead.source import KEY_MARK, SOURCE_NAME_PATTERN, is_name

# Bytes at which a request is closed, well below the API's bound.
REQUEST_BYTES_MAX = 4 * 1024 * 1024

# The errors of a lead that an answer does not spell out.
UNSPELLED: Errors = {"body": [NOT_SPELLED_OUT]}

# Exit status after Ctrl-C, by the convention of shells: 128 + SIGINT.
INTERRUPTED = 130


@click.command("import")
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", envvar="LEADS_URL", default="http://127.0.0.1:8080", show_default=True, help="The service.")
@click.option("--email", envvar="LEADS_EMAIL", help="Who logs in; asked for when not given. [LEADS_EMAIL]")
@click.option("--source", metavar="NAME", help="Send with the API key of this source, in place of a log-in.")
@click.option("--format", "kind", type=click.Choice(["csv", "ndjson"]), help="By default the file's name tells.")
@click.option("--batch", type=click.IntRange(1, BULK_MAX), help=f"Rows a request; {BULK_MAX} when not given.")
@click.option("--retry-for", default=300.0, show_default=True, help="Seconds to keep trying while nobody answers.")
@click.option("--again", is_flag=True, help="Begin from the first row, whatever was sent before.")
@click.option("--unsure", type=click.Choice(["skip", "send"]), help="What to do with rows of which nobody knows.")
def import_file(
    path: Path,
    url: str,
    email: str | None,
    source: str | None,
    kind: str | None,
    batch: int | None,
    retry_for: float,
    again: bool,
    unsure: str | None,
) -> None:
    """Upload the leads of a CSV file (with a header) or of an NDJSON file in bulk.

    Stop it with Ctrl-C and start it again: it goes on where it was, and stores each row once.
    Rows that are rejected go with their reasons into FILE's name with `.rejects`. The password
    comes from a prompt, from standard input, or from LEADS_PASSWORD; so does with --source the
    API key, from LEADS_API_KEY.
    """
    if not url.startswith(("http://", "https://")):
        raise click.ClickException(f"--url should begin with http:// or https://, and is {url}")
    # LEADS_EMAIL may be there all the time, and gives way to --source.
    is_given = click.get_current_context().get_parameter_source("email") is ParameterSource.COMMANDLINE
    if source is not None and is_given:
        raise click.ClickException("Give --email or --source, not both.")
    journal = Journal(path)
    try:
        journal.lock()
        with path.open("rb") as file:
            rows = open_rows(path, file, kind)
            state = _state(journal, rows, url.rstrip("/"), batch, again, unsure)
            if state.done and path.stat().st_size <= state.offset:
                click.echo(f"{path} is imported already: {_sums(journal, state)}. --again sends all of it once more.")
                return
            credentials = _api_key(source) if source is not None else _login(email)
            journal.claim(state, credentials.sender)
            status = _Import(rows, journal, state, path.stat().st_size).run(credentials, retry_for)
    except (BadFile, CannotResume, UploadFailed) as error:
        raise click.ClickException(str(error)) from None
    sys.exit(status)


class _Import:
    def __init__(self, rows: CsvFile | NdjsonFile, journal: Journal, state: State, size: int) -> None:
        self._rows = rows
        self._journal = journal
        self._state = state
        self._size = size
        self._stop = threading.Event()
        self._is_source = False
        self._waiting = ""
        self._bar: Any = None

    def run(self, credentials: Credentials, retry_for: float) -> int:
        """Upload what is left; return the exit status."""
        state = self._state
        self._is_source = isinstance(credentials, ApiKey)
        uploads = Uploads(state.url, credentials, retry_for=retry_for, stop=self._stop, tell=self._show)
        uploads.unsure = state.unsure
        if self._rows.extra:
            click.echo(f"These columns go into additionalData: {', '.join(self._rows.extra)}", err=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop_soon)
        try:
            uploads.log_in()
        except Stopped:
            return INTERRUPTED
        try:
            bar: Any = click.progressbar(
                length=self._size, label="Importing", file=sys.stderr, item_show_func=lambda _: self._shown()
            )
            with bar:
                self._bar = bar
                bar.update(state.offset, "")
                self._all(uploads)
        except Stopped:
            pass
        except UploadFailed:
            state.unsure = uploads.unsure
            self._journal.save(state)
            raise
        if state.done:
            click.echo(f"Imported: {_sums(self._journal, state)}.")
            return 0
        state.unsure = uploads.unsure
        self._journal.save(state)
        click.echo(f"Stopped at line {state.line}: {_sums(self._journal, state)}. The same command goes on from here.")
        return INTERRUPTED

    def _all(self, uploads: Uploads) -> None:
        state = self._state
        # A crash from here on may leave a batch accepted but not recorded; its idempotency key makes a resend safe.
        state.unsure, state.done = True, False
        self._journal.save(state)
        for rows in _batches(self._rows.rows(state.offset, state.line), state.batch):
            if self._stop.is_set():
                raise Stopped
            self._one(uploads, rows)
        state.unsure, state.done = False, True
        self._journal.save(state)

    def _one(self, uploads: Uploads, rows: list[Row]) -> None:
        state = self._state
        sent = [row for row in rows if not row.errors]
        results = uploads.send([row.lead for row in sent], state.key) if sent else []
        for row, result in zip(sent, results, strict=True):
            row.errors = result.get("errors", {})
        unspelled = [row for row in sent if row.errors == UNSPELLED]
        if self._is_source:
            self._ask_again(uploads, unspelled)
        else:
            for row in unspelled:
                row.errors = _spelled_out(row.lead)
        self._journal.reject(state, [row for row in rows if row.errors], list(self._rows.columns))
        state.accepted += sum(not row.errors for row in rows)
        before, state.offset = state.offset, rows[-1].end
        state.line = rows[-1].line
        uploads.unsure = False
        self._journal.save(state)
        self._bar.update(state.offset - before, "")

    def _ask_again(self, uploads: Uploads, rows: list[Row]) -> None:
        """Send rows again, as many at once as the API spells out: it alone knows the schema of their source.

        One that is accepted now, since the schema was changed meanwhile, counts as accepted.
        """
        for start in range(0, len(rows), SPELLED_OUT_MAX):
            some = rows[start : start + SPELLED_OUT_MAX]
            results = uploads.send([row.lead for row in some], f"{self._state.key}-{start}")
            for row, result in zip(some, results, strict=True):
                row.errors = result.get("errors", {})

    def _stop_soon(self, *_: object) -> None:
        """Wait for the answer to the request in flight; a second signal kills the process."""
        self._stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    def _show(self, waiting: str) -> None:
        if waiting != self._waiting:
            self._waiting = waiting
            if self._bar is not None:
                self._bar.update(0, "")
            elif waiting:
                click.echo(f"Waiting: {waiting}", err=True)

    def _shown(self) -> str:
        return self._waiting or f"{self._state.accepted} accepted, {self._state.rejected} rejected"


def _spelled_out(lead: bytes) -> Errors:
    """Return what the API's rules say of a lead here."""
    try:
        rules.validate(codec.decode(lead))
    except ValidationError as error:
        return error.messages_dict
    except orjson.JSONDecodeError as error:
        return {"body": [f"This value is not valid JSON: {error.msg}."]}
    return UNSPELLED


def _state(
    journal: Journal, file: CsvFile | NdjsonFile, url: str, batch: int | None, again: bool, unsure: str | None
) -> State:
    state = None if again else journal.read(url, is_resolved=unsure is not None)
    if state is None:
        return journal.begin(url, batch or BULK_MAX, file.start, file.first_line)
    if state.unsure and unsure == "skip":
        rows = next(_batches(file.rows(state.offset, state.line), state.batch), [])
        if rows:
            state.offset, state.line = rows[-1].end, rows[-1].line
    if batch and not state.unsure:
        # Else the batch after the offset may have been accepted as it was.
        state.batch = batch
    return state


def _batches(rows: Iterator[Row], most: int) -> Iterator[list[Row]]:
    """Group rows into batches of one request. Resuming at a batch's start gives the same batches again."""
    for first in rows:
        batch, size = [first], len(first.lead)
        for row in islice(rows, most - 1):
            batch.append(row)
            size += len(row.lead)
            if size > REQUEST_BYTES_MAX:
                break
        yield batch


def _sums(journal: Journal, state: State) -> str:
    rejected = f", in {journal.rejects}" if state.rejected else ""
    return f"{state.accepted} rows accepted, {state.rejected} rejected{rejected}"


def _api_key(source: str) -> ApiKey:
    if not is_name(source):
        raise click.ClickException(f"A source's name should match {SOURCE_NAME_PATTERN}.")
    key = os.environ.get("LEADS_API_KEY")
    if key is None and sys.stdin.isatty():
        key = click.prompt("API key", hide_input=True, err=True)
    elif key is None:
        key = sys.stdin.readline()
    key = key.strip()
    if not (key.startswith(KEY_MARK) and key.isascii() and key.isprintable()):
        raise click.ClickException(f"This is no API key: one begins with {KEY_MARK}.")
    return ApiKey(source, key)


def _login(email: str | None) -> Login:
    password = os.environ.get("LEADS_PASSWORD")
    if sys.stdin.isatty():
        return Login(
            email or click.prompt("E-mail", err=True), password or click.prompt("Password", hide_input=True, err=True)
        )
    if email is None:
        raise click.ClickException("Who logs in? Give --email or LEADS_EMAIL.")
    if password is None:
        password = sys.stdin.readline().rstrip("\r\n")
    return Login(email, password)
