"""Extensions of the ASGI scope: what the server knows about a request. ingest_api.server.early_start sets them."""

from typing import Any

# Set when the whole body has been received.
BODY_BUFFERED = "leads.body_buffered"

# A function that tells whether the client has disconnected: uvicorn drops silently what is sent after that.
CLIENT_DISCONNECTED = "leads.client_disconnected"


def is_body_buffered(scope: dict[str, Any]) -> bool:
    """Tell whether the whole body has been received, so that reading it cannot block."""
    return BODY_BUFFERED in scope


def client_disconnected(scope: dict[str, Any]) -> bool:
    """Tell whether the client has disconnected; False when the server does not say."""
    return CLIENT_DISCONNECTED in scope and bool(scope[CLIENT_DISCONNECTED]())
