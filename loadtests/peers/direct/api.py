"""The endpoint: FastAPI with a session for each request, as in its documentation on SQL databases."""

import os
import re
import uuid
from collections.abc import Iterator
from datetime import date
from typing import Annotated, Any

import sqlalchemy
from fastapi import Depends, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import DeclarativeBase, Session

from loadtests.peers.table import leads, metadata

Name = Annotated[str, Field(min_length=1, max_length=255)]
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class LeadIn(BaseModel):
    """A lead as a client sends it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    firstName: Name
    lastName: Name
    email: Annotated[str, Field(max_length=254, pattern=EMAIL)]
    phone: Annotated[str, Field(pattern=r"^\+?[1-9]\d{1,14}$")]
    dateOfBirth: date
    additionalData: dict[str, Any] | None = None


class Base(DeclarativeBase):
    """The declarative base."""

    metadata = metadata


class Lead(Base):
    """A stored lead."""

    __table__ = leads


# One connection for each of FastAPI's threads for `def` endpoints, so that none waits for a connection.
engine = sqlalchemy.create_engine(os.environ["PEER_DATABASE_URL"], pool_size=40)
app = FastAPI()


def session() -> Iterator[Session]:
    """Open a session for one request."""
    with Session(engine) as found:
        yield found


@app.post("/api/leads", status_code=202)
def create(lead: LeadIn, db: Annotated[Session, Depends(session)]) -> dict[str, Any]:
    """Insert the lead and commit."""
    lead_id = str(uuid.uuid4())
    db.add(
        Lead(
            lead_id=lead_id,
            first_name=lead.firstName,
            last_name=lead.lastName,
            email=lead.email,
            phone=lead.phone,
            date_of_birth=lead.dateOfBirth,
            additional_data=lead.additionalData,
        )
    )
    db.commit()
    return {"data": {"id": lead_id}}
