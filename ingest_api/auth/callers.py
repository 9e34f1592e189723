"""Who calls: a user with a token, or a source with an API key."""

from ingest_api.auth.api_keys import ApiKeys
from ingest_api.auth.tokens import Identity, Tokens, authorization, forbidden
from ingest_api.http.context import Request
from schema.lead.source import KEY_MARK


class Callers:
    """Finds out who sends a request, and whether they may."""

    def __init__(self, tokens: Tokens, api_keys: ApiKeys) -> None:
        self._tokens = tokens
        self._api_keys = api_keys

    def require(self, req: Request, *roles: str) -> Identity:
        """Return the identity behind the request's token or API key; it must have one of `roles`.

        Raises the 401 or the 403 of the contract; the 503 for an API key before the database has answered.
        """
        scheme, key = authorization(req.auth or "")
        if not key.startswith(KEY_MARK) or scheme != "bearer":
            return self._tokens.require(req, *roles)
        identity = self._api_keys.identify(key)
        req.context.user = identity.user
        if not identity.roles.intersection(roles):
            raise forbidden("This API key may not do that.", "role")
        return identity
