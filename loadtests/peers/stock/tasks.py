"""The stock pipeline's Celery app, with late acknowledgement as Celery's user guide describes it."""

import os
from typing import Any

import sqlalchemy
from celery import Celery

app = Celery("stock", broker=os.environ["STOCK_REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # So that what is redelivered comes back within a chaos run and not after an hour.
    broker_transport_options={"visibility_timeout": 30, "socket_timeout": 5},
    worker_concurrency=2,
)

metadata = sqlalchemy.MetaData()
leads = sqlalchemy.Table(
    "stock_leads",
    metadata,
    sqlalchemy.Column("number", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("lead_id", sqlalchemy.String(36), nullable=False, index=True),
    sqlalchemy.Column("first_name", sqlalchemy.String(255), nullable=False),
    sqlalchemy.Column("last_name", sqlalchemy.String(255), nullable=False),
    sqlalchemy.Column("email", sqlalchemy.String(254), nullable=False, index=True),
    sqlalchemy.Column("phone", sqlalchemy.String(16), nullable=False),
    sqlalchemy.Column("date_of_birth", sqlalchemy.String(10), nullable=False),
)

engine = sqlalchemy.create_engine(os.environ["STOCK_DATABASE_URL"], pool_pre_ping=True)


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
                date_of_birth=lead["dateOfBirth"],
            )
        )
