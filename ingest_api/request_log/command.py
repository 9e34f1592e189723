"""`python -m ingest_api requests`: shows the request log, in colour on a terminal."""

import http.client
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import orjson
from redis.exceptions import RedisError

from ingest_api.request_log.reader import Requests
from ingest_api.request_log.record import Record
from schema.audit.event import Action, command_line_user, new_event
from schema.cli import load_settings, write_event
from schema.runtime.redis_clients import blocking_home_shard

QUEUE_TIMEOUT = 5.0  # seconds

# Most requests that are read when the log is turned off now but holds earlier ones.
KEPT = 10_000

# Characters of a body that `show` prints.
SCREEN_MAX = 2000

number_option = click.option(
    "-n", "--number", default=10, show_default=True, type=click.IntRange(1, 100_000), help="How many."
)


@click.group()
def requests() -> None:
    """Show the last requests, whole. They hold leads: personal data."""


@requests.command()
@number_option
def last(number: int) -> None:
    """Show the last requests, the newest at the bottom."""
    with _opened("last") as log:
        _list(log.last(number), "No request is in the log.")


@requests.command()
@number_option
def errors(number: int) -> None:
    """Show the last requests that were answered with an error (400 or more), the newest at the bottom."""
    with _opened("errors") as log:
        _list(log.last_errors(number), "No error is in the log.")


@requests.command()
@click.argument("request_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="All that is kept, as one JSON object.")
def show(request_id: str, as_json: bool) -> None:
    """Show one request in full, by its request id; the newest one if several have it.

    By default for reading: long bodies are cut. With --json nothing is, and bodies that are JSON are part of it.
    """
    with _opened("show") as log:
        found = log.find(request_id)
    if not found:
        raise click.ClickException(f"no request {request_id!r} is in the log")
    if len(found) > 1:
        click.echo(f"{len(found)} requests have this id. This is the newest.", err=True)
    _echo(_as_json(found[-1]) if as_json else _in_full(found[-1]))


@requests.command()
@click.confirmation_option(prompt="Delete the whole request log?")
def clear() -> None:
    """Delete the whole log: requests and errors. Leads are not touched."""
    with _opened("clear", Action.REQUEST_LOG_CLEARED) as log:
        click.echo(f"{log.clear()} deleted.")


@contextmanager
def _opened(command: str, action: Action = Action.REQUEST_LOG_SHOWN) -> Iterator[Requests]:
    """Open the log, and take down in the audit trail that `command` opens it."""
    settings = load_settings()
    shard = blocking_home_shard(settings, timeout=QUEUE_TIMEOUT)
    try:
        write_event(shard, new_event(action, user=command_line_user(), parameters=[command]))
        yield Requests(shard, settings.request_log or KEPT)
    except RedisError as error:
        raise click.ClickException(
            f"the queue does not answer: {type(error).__name__}. Does the service run?"
        ) from None
    finally:
        shard.client.close()


def _list(records: Iterable[Record], none: str) -> None:
    lines = [_line(each) for each in records]
    _echo("\n".join(lines) if lines else none)


def _line(record: Record) -> str:
    user = record.user or "-"
    path = record.path + (f"?{record.query}" if record.query else "")
    parts = (
        click.style(f"{record.moment:%Y-%m-%d %H:%M:%S}.{record.time // 1000 % 1000:03}Z", dim=True),
        _status(record.status),
        click.style(f"{record.took / 1000:>8.1f} ms", dim=True),
        f"{_safe(record.method):<6} {_safe(path)}",
        click.style(_safe(record.reason), fg="yellow") if record.reason else "",
        f"{_safe(record.client)} {_safe(user)}",
        click.style(_safe(record.request_id), fg="cyan"),
    )
    return "  ".join(part for part in parts if part)


def _in_full(record: Record) -> str:
    path = record.path + (f"?{record.query}" if record.query else "")
    lines = [
        click.style(f"{_safe(record.method)} {_safe(path)}", bold=True),
        f"{_status(record.status)} {_phrase(record.status)}"
        + (f"  {click.style(_safe(record.reason), fg='yellow')}" if record.reason else ""),
        *(
            _field(name, value)
            for name, value in (
                ("request id", record.request_id),
                ("came", record.moment.isoformat(timespec="microseconds").replace("+00:00", "Z")),
                ("took", f"{record.took / 1000:.3f} ms"),
                ("client", record.client),
                ("user", record.user or "-"),
                ("user agent", record.user_agent or "-"),
                ("query", record.query or "-"),
            )
        ),
        *_titled("Headers", "\n".join(_safe(f"{name}: {value}") for name, value in record.header_pairs)),
        *_titled("Body", _on_screen(record.body, record.body_remark)),
        *_titled("Response", _on_screen(record.response, record.response_remark)),
    ]
    return "\n".join(lines)


def _as_json(record: Record) -> str:
    path = record.path + (f"?{record.query}" if record.query else "")
    data: dict[str, Any] = {
        "id": record.request_id,
        "time": record.moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "milliseconds": record.took / 1000,
        "client": record.client,
        "user": record.user or None,
        "request": {
            "method": record.method,
            "path": record.path,
            "query": record.query,
            "url": path,
            "headers": dict(record.header_pairs),
            "body": record.body,
            "body_remark": record.body_remark or None,
        },
        "response": {
            "status": record.status,
            "reason": record.reason or None,
            "body": record.response,
            "body_remark": record.response_remark or None,
        },
    }
    text = orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()
    return "".join(f"\\u{ord(each):04x}" if _is_control(each) else each for each in text)


def _on_screen(body: Any, remark: str) -> str:
    text = orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() if isinstance(body, dict | list) else body or ""
    if len(text) > SCREEN_MAX:
        remark = remark or f"{len(text) - SCREEN_MAX} more characters: make api-request-data"
        text = text[:SCREEN_MAX]
    shown = "\n".join(map(_safe, text.split("\n")))
    if not remark:
        return shown or "-"
    return (shown + "\n" if shown else "") + click.style(f"({remark})", fg="yellow")


def _titled(title: str, text: str) -> list[str]:
    return ["", click.style(title, bold=True), *(f"  {line}" for line in text.split("\n"))]


def _field(name: str, value: str) -> str:
    return f"{name:<12} {_safe(value)}"


def _status(status: int) -> str:
    colour = "green" if status < 300 else "cyan" if status < 400 else "yellow" if status < 500 else "red"
    return click.style(str(status), fg=colour, bold=status >= 500)


def _phrase(status: int) -> str:
    return http.client.responses.get(status, "")


def _safe(text: str) -> str:
    """Escape control characters, so that a client's text cannot control the terminal."""
    return "".join(f"\\x{ord(each):02x}" if _is_control(each) else each for each in text)


def _is_control(character: str) -> bool:
    return character != "\n" and (ord(character) < 32 or 127 <= ord(character) < 160)


def _echo(text: str) -> None:
    # With None click drops colours when stdout is no terminal. NO_COLOR: see no-color.org.
    click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
