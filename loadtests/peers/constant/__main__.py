"""Runs the constant route on our server with the same options: `python -m loadtests.peers.constant`."""

import asyncio

import falcon
import falcon.asgi

from ingest_api.server.gunicorn_app import Server
from schema import settings

# Same length as our answer to the benchmark's lead.
ANSWER = b'{"status":"success","code":202,"message":"Lead accepted","data":{"id":"' + b"0" * 390 + b'"}}'


class Constant:
    """The only resource."""

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Read the body and answer the constant."""
        await req.stream.read()
        resp.status = falcon.HTTP_202
        resp.data = ANSWER


def make() -> falcon.asgi.App:
    """Make the application."""
    app = falcon.asgi.App()
    app.add_route("/api/leads", Constant())
    return app


if __name__ == "__main__":
    Server(settings.load(), make, asyncio.Event()).run()
