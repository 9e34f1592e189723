"""The contacts of a lead, its e-mail address and its telephone number, by which a person is known again.

Both are brought into one form, and kept as a hash.
"""

import hashlib

CONTACT_SIZE = 10  # bytes: of 60 million contacts, two have the same with a chance of 1 in 10^9


def normal_email(email: str) -> str:
    """Return the form in which addresses are compared: upper and lower case are the same."""
    return email.strip().casefold()


def contacts_of(email: str, phone: str) -> tuple[bytes, bytes]:
    """Return the hashes of a lead's address and number, as they were accepted, of CONTACT_SIZE bytes each.

    A number is compared by its digits, with or without "+".
    """
    return _hash(b"email", normal_email(email)), _hash(b"phone", phone.removeprefix("+"))


def _hash(kind: bytes, text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=CONTACT_SIZE, person=kind).digest()
