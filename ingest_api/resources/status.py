"""GET /api/status"""

from falcon.asgi import Response

from ingest_api.auth.tokens import Tokens
from ingest_api.http.context import Request
from ingest_api.http.envelope import success_encoded
from ingest_api.reads.shared_answer import SharedAnswer
from ingest_api.reads.status import StatusReader


class Status:
    """How the service is, in one answer for people: also while a part is away. For users, not for sources."""

    def __init__(self, tokens: Tokens, reader: StatusReader) -> None:
        self._tokens = tokens
        self._status = SharedAnswer(reader.read)

    async def on_get(self, req: Request, resp: Response) -> None:
        """Answer the status of some seconds ago. A number that cannot be read is null."""
        self._tokens.require(req, "read")
        success_encoded(resp, 200, "Status", await self._status.get())

    on_head = on_get
