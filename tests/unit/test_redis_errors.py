"""The names of Redis's errors: its code, and nothing that an error may quote."""

import pytest
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import NoScriptError, ResponseError

from schema.runtime.redis_errors import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ResponseError("NOREPLICAS Not enough good replicas to write."), "ResponseError NOREPLICAS"),
        (ResponseError("unknown command 'ada@example.com'"), "ResponseError"),
        (NoScriptError("No matching script"), "NoScriptError"),
        (ResponseError(""), "ResponseError"),
        (NotConnected("Error 111 connecting to 127.0.0.1:6379"), "ConnectionError"),
    ],
)
def test_an_error_is_named_by_its_class_and_by_redis_s_code(error: Exception, reason: str):
    assert reason_of(error) == reason
