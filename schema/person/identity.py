"""Who a person is: an e-mail address, a phone number, or both, and how they are recognized in what is kept."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import orjson

from schema.lead.contacts import contacts_of, normal_email

# What people write between the digits of a number.
_SEPARATORS = re.compile(r"[\s().\-/]+")
_BETWEEN_DIGITS = re.compile(r"(?<=\d)[\s().\-/]+(?=\d)")
_INTERNATIONAL = re.compile(r"(?:\+|00)?([1-9]\d{1,14})", re.ASCII)
_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


class NotAPerson(ValueError):
    """What was given names nobody; the message is one line that says why."""


def normal_phone(phone: str) -> str:
    """Return the digits of a number in international form, with or without "+" or "00" and separators.

    Raises NotAPerson.
    """
    found = _INTERNATIONAL.fullmatch(_SEPARATORS.sub("", phone.strip()))
    if found is None:
        raise NotAPerson("--phone: the number is needed in international form, such as +442071234567")
    return found[1]


@dataclass(frozen=True, slots=True)
class Person:
    """A person, known by an address, a number, or both: whatever has either of them is theirs."""

    email: str = ""  # as `normal_email` returns it; empty: not known
    phone: str = ""  # as `normal_phone` returns it; empty: not known

    @classmethod
    def of(cls, email: str | None, phone: str | None) -> "Person":
        """Make a person of what an operator typed.

        Raises NotAPerson.
        """
        if not email and not phone:
            raise NotAPerson("name the person by --email, --phone, or both")
        if email and "@" not in email:
            raise NotAPerson("--email: this is not an e-mail address")
        return cls(normal_email(email or ""), normal_phone(phone) if phone else "")

    @property
    def stored_phones(self) -> tuple[str, ...]:
        """The forms in which a lead may hold the number."""
        return (self.phone, f"+{self.phone}") if self.phone else ()

    @property
    def contacts(self) -> list[bytes]:
        """The hashes of the address and the number, as far as they are known (schema.lead.contacts)."""
        both = zip((self.email, self.phone), contacts_of(self.email, self.phone), strict=True)
        return [contact for text, contact in both if text]

    def has(self, email: Any, phone: Any) -> bool:
        """Tell whether a lead with this address and number is the person's."""
        return bool(self.email and isinstance(email, str) and normal_email(email) == self.email) or (
            isinstance(phone, str) and phone in self.stored_phones
        )

    def owns(self, payload: bytes) -> bool:
        """Tell whether an entry of the queue is the person's; of one that holds no lead, whether it names them."""
        try:
            lead = orjson.loads(payload)
            return self.has(lead["email"], lead["phone"])
        except (ValueError, TypeError, KeyError):
            return self.is_named_in([payload.decode(errors="replace")])

    def is_named_in(self, texts: Iterable[str]) -> bool:
        """Tell whether the address or the number stands anywhere in these texts, percent-encoded or escaped too."""
        return any(self._is_in(form) for text in texts for form in _forms(text))

    def _is_in(self, text: str) -> bool:
        if self.email and self.email in text:
            # Not within a longer address.
            return bool(re.search(rf"(?<![\w.+-]){re.escape(self.email)}(?![\w-]|\.\w)", text))
        if self.phone:
            return bool(re.search(rf"(?<!\d)(?:00)?{self.phone}(?!\d)", _BETWEEN_DIGITS.sub("", text)))
        return False


def _forms(text: str) -> Iterator[str]:
    """Yield a text in lower case as it is, and decoded as often as clients and servers may encode it."""
    yield text.casefold()
    for _ in range(2):
        if "%" in text or "+" in text:
            text = unquote_plus(text)
            yield text.casefold()
    if "\\u" in text:
        yield _JSON_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text).casefold()


def strings_in(value: Any) -> Iterator[str]:
    """Yield all strings in decoded JSON, names too, and its numbers as text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from strings_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings_in(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
