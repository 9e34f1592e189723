"""Reads the rows of a CSV or NDJSON file one at a time, each with its place, so that memory is bounded by one row."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from schema.lead import codec
from schema.lead.rules import FIELDS, TOO_LONG_INTEGER

Errors = dict[str, list[str]]

# Longest line (bytes): the API's bound on the body of a single lead.
LINE_MAX = 1024 * 1024

# Bytes shown of a line that is too long.
SHOWN = 200

DELIMITERS = ",;\t|"
ADDITIONAL = "additionalData"
CONSENT = "consent"

# Prefix of the columns that an import adds to its rejects; they are no part of a lead.
NOTE = "_"

_by_name = {name.lower(): name for name in FIELDS}
_required = [name for name in FIELDS if name not in (ADDITIONAL, CONSENT)]


class BadFile(Exception):
    """A file cannot be imported as it is; the message says why."""


@dataclass(slots=True)
class Row:
    """One row: its place, and its lead as JSON or the errors."""

    line: int  # first line of the row, from 1
    end: int  # offset of the byte after the row
    source: list[str]  # columns of CSV; the whole line of NDJSON
    lead: bytes = b""
    errors: Errors = field(default_factory=dict)


class Lines:
    """Reads a file's lines from an offset on; `offset` and `line` are the place after the last one read."""

    def __init__(self, file: IO[bytes], offset: int, line: int) -> None:
        self._file = file
        self.seek(offset, line)

    def seek(self, offset: int, line: int) -> None:
        """Continue at `offset`, which is after `line` lines."""
        self._file.seek(offset)
        self.offset, self.line = offset, line
        self.too_long = False

    def __iter__(self) -> Iterator[str]:
        while (text := self.read()) is not None:
            yield text

    def read(self) -> str | None:
        """Return the next line, or None at the end. Bytes that are not UTF-8 become lone surrogates."""
        line = self._file.readline(LINE_MAX + 1)
        if not line:
            return None
        self.offset += len(line)
        self.line += 1
        if len(line) > LINE_MAX:
            self.too_long = True
            piece = line
            while piece and not piece.endswith(b"\n"):
                piece = self._file.readline(LINE_MAX)
                self.offset += len(piece)
            line = line[:SHOWN] + b"\n"
        return line.decode("utf-8", "surrogateescape")


class CsvFile:
    """A CSV file with a header. Columns that are not fields of a lead go into additionalData.

    So does a column `consent` where it holds no JSON object.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Read the header.

        Raises BadFile when it is no CSV, or a required column is missing or there twice.
        """
        self._file = file
        lines = Lines(file, 0, 0)
        head = (lines.read() or "").removeprefix("\ufeff").rstrip("\r\n")
        if lines.too_long or not head.strip():
            raise BadFile("The first line should be the header: the names of the columns.")
        self._delimiter = max(DELIMITERS, key=head.count)
        try:
            self.columns = [name.strip() for name in next(csv.reader([head], delimiter=self._delimiter, strict=True))]
        except csv.Error as error:
            raise BadFile(f"The header is no CSV: {error}.") from None
        self.start, self.first_line = lines.offset, 1
        self._names = [self._name(column) for column in self.columns]
        fields = [name for name, _ in self._names if name]
        twice = sorted({name for name in fields if fields.count(name) > 1})
        if twice:
            raise BadFile(f"These columns are there more than once: {', '.join(twice)}.")
        missing = [name for name in _required if name not in fields]
        if missing:
            raise BadFile(f"The header has no column {', '.join(missing)}. It has: {', '.join(self.columns)}.")

    @property
    def extra(self) -> list[str]:
        """The columns that go into additionalData."""
        return [column for name, column in self._names if not name and column]

    def rows(self, offset: int, line: int) -> Iterator[Row]:
        """Yield the rows from `offset` on, which is after `line` lines."""
        lines = Lines(self._file, offset, line)
        while True:
            reader = csv.reader(iter(lines), delimiter=self._delimiter, strict=True)
            begin, first = lines.offset, lines.line + 1
            try:
                for values in reader:
                    yield from self._row(values, first, lines)
                    begin, first = lines.offset, lines.line + 1
                return
            except csv.Error as error:
                # An unclosed quote swallows the lines after it: reject the first line only and go on behind it.
                lines.seek(begin, first - 1)
                text = lines.read() or ""
                reason = f"This row is no CSV: {error}."
                yield Row(first, lines.offset, [_readable(text).rstrip("\r\n")], errors={"row": [reason]})

    def _row(self, values: list[str], first: int, lines: Lines) -> Iterator[Row]:
        if not values:
            return
        row = Row(first, lines.offset, [_readable(value) for value in values])
        if lines.too_long:
            lines.too_long = False
            row.errors = {"row": [f"This row is longer than {LINE_MAX} bytes."]}
        elif len(values) != len(self.columns):
            row.errors = {"row": [f"This row has {len(values)} columns, the header has {len(self.columns)}."]}
        elif row.source != values:
            row.errors = {"row": ["This row is not in UTF-8."]}
        else:
            self._fill(row)
        yield row

    def _fill(self, row: Row) -> None:
        lead: dict[str, Any] = {}
        more: dict[str, Any] = {}
        for (name, column), value in zip(self._names, row.source, strict=True):
            if (name == ADDITIONAL and value.strip()) or (name == CONSENT and value.lstrip().startswith("{")):
                try:
                    lead[name] = codec.decode(value.encode())
                except orjson.JSONDecodeError as error:
                    row.errors = {name: [f"This value is not valid JSON: {error.msg}."]}
                    return
            elif name == CONSENT and value:
                # A "yes" is no proof.
                more[column] = value
            elif name and name not in (ADDITIONAL, CONSENT):
                lead[name] = value
            elif column and not name and value:
                more[column] = value
        if more and isinstance(lead.get(ADDITIONAL, {}), dict):
            lead[ADDITIONAL] = {**more, **lead.get(ADDITIONAL, {})}
        try:
            row.lead = orjson.dumps(lead)
        except TypeError:
            row.errors = {ADDITIONAL: [TOO_LONG_INTEGER]}

    @staticmethod
    def _name(column: str) -> tuple[str, str]:
        """Return the lead's field for a column, or "", and the column's name, or "" for an import's own column."""
        name = _by_name.get(re.sub(r"[\W_]", "", column).lower(), "")
        return name, "" if column.startswith(NOTE) else column.removeprefix(f"{ADDITIONAL}.")


class NdjsonFile:
    """A file with a lead as JSON on each line."""

    columns: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    start = first_line = 0

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def rows(self, offset: int, line: int) -> Iterator[Row]:
        """Yield the rows from `offset` on, which is after `line` lines. Blank lines are skipped."""
        lines = Lines(self._file, offset, line)
        for text in lines:
            shown = _readable(text).strip("\r\n\ufeff")
            row = Row(lines.line, lines.offset, [shown])
            if lines.too_long:
                lines.too_long = False
                row.errors = {"row": [f"This row is longer than {LINE_MAX} bytes."]}
            elif _readable(text) != text:
                row.errors = {"row": ["This row is not in UTF-8."]}
            elif not shown.strip():
                continue
            else:
                row.lead = shown.encode()
            yield row


def open_rows(path: Path, file: IO[bytes], kind: str | None) -> CsvFile | NdjsonFile:
    """Open a file of the kind "csv" or "ndjson"; None decides by the file's name.

    Raises BadFile.
    """
    if kind is None:
        kind = "ndjson" if path.suffix.lower() in (".ndjson", ".jsonl", ".json") else "csv"
    return NdjsonFile(file) if kind == "ndjson" else CsvFile(file)


def _readable(text: str) -> str:
    """Replace the bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
