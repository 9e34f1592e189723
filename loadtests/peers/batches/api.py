"""The endpoint: Falcon (WSGI) that publishes a message for each lead and answers 202."""

import uuid

import falcon

from loadtests.peers.batches.tasks import insert


class Leads:
    """The only resource."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Publish the lead."""
        lead_id = str(uuid.uuid4())
        insert.delay(lead_id, req.media)
        resp.status = falcon.HTTP_202
        resp.media = {"data": {"id": lead_id}}


app = falcon.App()
app.add_route("/api/leads", Leads())
