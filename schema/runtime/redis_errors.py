"""Names for Redis's errors in logs and messages."""

from redis.exceptions import ResponseError


def reason_of(error: BaseException) -> str:
    """Return an error's class, with Redis's own code where it gave one: `ResponseError NOREPLICAS`.

    The rest of Redis's message is left out, since it may quote an argument.
    """
    name = type(error).__name__
    code = str(error).partition(" ")[0]
    return f"{name} {code}" if isinstance(error, ResponseError) and code.isupper() else name
