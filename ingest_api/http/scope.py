"""What the server tells of a request beside ASGI, in the request's scope: ingest_api.server.asgi writes it there."""

from typing import Any

# Set when the whole body has come, and need not be waited for.
BODY_BUFFERED = "leads.whole_body"

# Returns whether the client has hung up: what is sent to it then, the server drops silently.
CLIENT_DISCONNECTED = "leads.has_gone"


def is_body_buffered(scope: dict[str, Any]) -> bool:
    """Tell whether the whole body of a request is there already."""
    return BODY_BUFFERED in scope


def client_disconnected(scope: dict[str, Any]) -> bool:
    """Tell whether the client of a request has hung up; False when the server does not say."""
    return CLIENT_DISCONNECTED in scope and bool(scope[CLIENT_DISCONNECTED]())
