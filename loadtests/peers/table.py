"""The peers' table: the same columns for a lead as ours, with fewer indexes and no counts.

`python -m loadtests.peers.table` makes it.
"""

import os

import sqlalchemy
from sqlalchemy import Column, MetaData, String

metadata = MetaData()

leads = sqlalchemy.Table(
    "peer_leads",
    metadata,
    Column("number", sqlalchemy.Integer, primary_key=True),
    Column("lead_id", String(36), nullable=False, index=True),
    Column("first_name", String(255), nullable=False),
    Column("last_name", String(255), nullable=False),
    Column("email", String(254), nullable=False, index=True),
    Column("phone", String(16), nullable=False),
    Column("date_of_birth", sqlalchemy.Date, nullable=False),
    Column("additional_data", sqlalchemy.JSON),
    Column("created_at", sqlalchemy.DateTime, nullable=False, server_default=sqlalchemy.func.now()),
)

if __name__ == "__main__":
    metadata.create_all(sqlalchemy.create_engine(os.environ["PEER_DATABASE_URL"]))
