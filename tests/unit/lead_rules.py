"""What the tests of a lead's rules share: a lead that fits, and what is told of one that does not."""

from typing import Any

import pytest
from marshmallow import ValidationError

from schema.lead import rules

VALID: dict[str, Any] = {
    "firstName": "Ada",
    "lastName": "Lovelace",
    "email": "ada@example.com",
    "phone": "+442071234567",
    "dateOfBirth": "1990-12-10",
    "additionalData": {"campaign": "x"},
}

NOT_PHONE = r"This value should match pattern: /^\+?[1-9]\d{1,14}$/"
CONTROL = "This value should not contain control characters."


def errors_of(data: object) -> Any:
    with pytest.raises(ValidationError) as caught:
        rules.validate(data)
    return caught.value.messages
