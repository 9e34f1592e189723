"""The Celery app with a batched task, as the documentation of celery-batches describes it."""

import os
from datetime import date

import sqlalchemy
from celery import Celery
from celery_batches import Batches, SimpleRequest

from loadtests.peers.table import leads

app = Celery("batches", broker=os.environ["PEER_REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    # As its documentation says: 0 (no limit), or high enough that a batch can be prefetched.
    worker_prefetch_multiplier=0,
    broker_connection_retry_on_startup=True,
    worker_concurrency=2,
)

engine = sqlalchemy.create_engine(os.environ["PEER_DATABASE_URL"], pool_pre_ping=True)


# 100 messages as in the documentation's example, but an interval of 1 s instead of 10, so that no lead waits for long.
@app.task(base=Batches, flush_every=100, flush_interval=1)
def insert(requests: list[SimpleRequest]) -> None:
    """Insert the leads of a batch."""
    rows = []
    for request in requests:
        lead_id, lead = request.args
        rows.append(
            {
                "lead_id": lead_id,
                "first_name": lead["firstName"],
                "last_name": lead["lastName"],
                "email": lead["email"],
                "phone": lead["phone"],
                "date_of_birth": date.fromisoformat(lead["dateOfBirth"]),
                "additional_data": lead.get("additionalData"),
            }
        )
    with engine.begin() as connection:
        connection.execute(leads.insert(), rows)
