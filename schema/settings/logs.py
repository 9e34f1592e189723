"""The logs: one line a request, the request log, the level."""

from dataclasses import dataclass

from marshmallow.validate import OneOf

from schema.settings.declare import number, setting


@dataclass(frozen=True)
class LogSettings:
    """The logs: one line a request, the request log, the level."""

    access_log: str = setting(
        "all", "Requests that get a log line: `all`, `errors` or `none`.", check=OneOf(["all", "errors", "none"])
    )
    request_log: int = number(
        10_000,
        "Requests in the request log, and separately errors (`make api-logs`); 0 turns it off. See docs/operations.md.",
        unit="requests",
        low=0,
        high=100_000,
    )
    request_log_bodies: str = setting(
        "errors",
        "Requests whose bodies and responses are in the request log: `all`, leads among them, `errors` or `none`.",
        check=OneOf(["all", "errors", "none"]),
    )
    request_log_personal: str = setting(
        "masked",
        "What clients said of persons in the request log: `masked`, so that only its shape is kept, or `clear`.",
        check=OneOf(["masked", "clear"]),
    )
    request_log_age: float = number(
        7.0,
        "Age at which requests leave the request log, also when no newer ones come. Needs workers.",
        unit="days",
        low=0.0001,
        high=3650,
        kind="float",
    )
    audit_days: int = number(
        90,
        "Days that the audit trail is kept (`python -m schema audit`): who logged in, read, exported, changed users. "
        "0 keeps all.",
        unit="days",
        low=0,
        high=36500,
    )
    log_level: str = setting("INFO", "Least level that is logged.", check=OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))
