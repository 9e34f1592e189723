"""What the server tells of a request beside ASGI, in the request's scope: ingest_api.server.asgi writes it there."""

from typing import Any

# Set when the whole body has come, and need not be waited for.
WHOLE_BODY = "leads.whole_body"

# Returns whether the client has hung up: what is sent to it then, the server drops silently.
HAS_GONE = "leads.has_gone"


def has_whole_body(scope: dict[str, Any]) -> bool:
    """Tell whether the whole body of a request is there already."""
    return WHOLE_BODY in scope


def has_gone(scope: dict[str, Any]) -> bool:
    """Tell whether the client of a request has hung up; False when the server does not say."""
    return HAS_GONE in scope and bool(scope[HAS_GONE]())
