"""Kinds of parameters that several endpoints share, and the loading of a query string."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from schema.lead.source import SOURCE_NAME_PATTERN

ORDERS = ("ASC", "DESC")

# What `duplicates` may say, and what the leads wanted then are.
DUPLICATE_CHOICES = {"exclude": False, "only": True}

UNKNOWN_PARAMETER = "This parameter is not known."

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_date = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# An offset's "+" that was not escaped in the query arrives as a space.
_lost_plus = re.compile(r" (?=\d{2}:\d{2}$)", re.ASCII)


class WholeNumber(fields.Integer):
    """A number written in digits alone, in [low, high]."""

    def __init__(self, low: int, high: int, **kwargs: Any) -> None:
        message = f"This value should be a whole number from {low} to {high}."
        super().__init__(
            validate=validate.Range(low, high, error=message), error_messages={"invalid": message}, **kwargs
        )

    def _validated(self, value: Any) -> int:
        if not isinstance(value, str) or not re.fullmatch(r"\d{1,18}", value, re.ASCII):
            raise self.make_error("invalid", input=value)
        return int(value)


class Moment(fields.Field[int]):
    """A time as RFC 3339, or a date; loads as microseconds since 1970.

    A date means its beginning, with `end` its last microsecond, with `next_day` the next day's beginning, all in UTC.
    """

    default_error_messages = {"invalid": "This value should be an RFC 3339 time or a date (YYYY-MM-DD)."}

    def __init__(self, *, end: bool = False, next_day: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._end = end
        self._next_day = next_day

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        try:
            if _date.fullmatch(value):
                moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
                if self._end:
                    moment += timedelta(days=1, microseconds=-1)
                elif self._next_day:
                    moment += timedelta(days=1)
            else:
                moment = datetime.fromisoformat(_lost_plus.sub("+", value.upper()))
                if moment.tzinfo is None or "T" not in value.upper():
                    raise ValueError
            micros = (moment - _EPOCH) // timedelta(microseconds=1)
        except (ValueError, TypeError, OverflowError):
            raise self.make_error("invalid") from None
        # No id is older than 1970.
        return max(micros, 0)


TIME_RULE = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}


def one_of(choices: tuple[str, ...]) -> validate.OneOf:
    """Return the validator of an enumeration, with our message."""
    return validate.OneOf(choices, error=f"This value should be one of {', '.join(choices)}.")


class SourceName(fields.String):
    """The name of a source, whether there is one or not."""

    def __init__(self) -> None:
        rule = validate.Regexp(SOURCE_NAME_PATTERN, error="This value is no source's name.")
        text = {"description": "Leads that this source sent", "pattern": SOURCE_NAME_PATTERN}
        super().__init__(load_default=None, validate=rule, metadata=text)


class Duplicates(fields.String):
    """Whether duplicates are left out, or nothing else is wanted: a key of DUPLICATE_CHOICES."""

    def __init__(self) -> None:
        text = {"description": "`exclude` leaves out leads that are duplicates, `only` leaves out all others"}
        super().__init__(load_default=None, validate=one_of(tuple(DUPLICATE_CHOICES)), metadata=text)


class Order(fields.String):
    """ASC or DESC, in any case."""

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        """Return it in capital letters. Raises ValidationError."""
        return super().deserialize(value.upper() if isinstance(value, str) else value, attr, data, **kwargs)


def as_stored(email: str | None, phone: str | None) -> tuple[str | None, str | None]:
    """Return the address and number of a query string in the form in which the table has them."""
    if email is not None:
        # MySQL's comparison ignores trailing blanks, SQLite's does not.
        email = email.strip()
    if phone is not None and phone.startswith(" "):
        # A "+" that was not escaped in the query arrives as a space.
        phone = "+" + phone[1:]
    return email, phone


def own_source(given: str | None, caller: str | None) -> str | None:
    """Return the source whose leads are asked for: for a source its own, for a user the one `given`, None for all.

    `caller` is the source that asks, None for a user.

    Raises marshmallow's ValidationError when a source asks for another one's.
    """
    if caller is None:
        return given
    if given not in (None, caller):
        raise ValidationError({"source": ["An API key reads the leads of its own source alone."]})
    return caller


def parse(schema: Schema, parameters: Mapping[str, str | list[str]]) -> Any:
    """Load query parameters with `schema`.

    Raises marshmallow's ValidationError, also when a parameter is given more than once.
    """
    twice = {
        name: ["This parameter is given more than once."]
        for name, value in parameters.items()
        if isinstance(value, list)
    }
    if twice:
        raise ValidationError(twice)
    return schema.load(parameters)
