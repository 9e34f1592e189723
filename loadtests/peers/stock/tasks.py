"""The stock pipeline's Celery app, with late acknowledgement as in Celery's user guide."""

import os
from datetime import date
from typing import Any

import sqlalchemy
from celery import Celery

from loadtests.peers.table import leads

# With a broker under Sentinel, what the Sentinels call the primary.
MASTER_NAME = os.environ.get("PEER_REDIS_MASTER_NAME")

app = Celery("stock", broker=os.environ["PEER_REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # Redelivery within a chaos run, instead of after Celery's default of an hour.
    broker_transport_options={
        "visibility_timeout": 30,
        "socket_timeout": 5,
        **({"master_name": MASTER_NAME} if MASTER_NAME else {}),
    },
    worker_concurrency=2,
)

engine = sqlalchemy.create_engine(os.environ["PEER_DATABASE_URL"], pool_pre_ping=True)


@app.task(autoretry_for=(sqlalchemy.exc.OperationalError,), max_retries=None, retry_backoff=True, retry_backoff_max=10)
def insert(lead_id: str, lead: dict[str, Any]) -> None:
    """Insert one lead."""
    with engine.begin() as connection:
        connection.execute(
            leads.insert().values(
                lead_id=lead_id,
                first_name=lead["firstName"],
                last_name=lead["lastName"],
                email=lead["email"],
                phone=lead["phone"],
                date_of_birth=date.fromisoformat(lead["dateOfBirth"]),
                additional_data=lead.get("additionalData"),
            )
        )
