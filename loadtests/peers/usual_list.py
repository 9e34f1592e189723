"""A list as in FastAPI's and SQLAlchemy's tutorials, on the service's own table: ORM, COUNT(*), OFFSET."""

import os
from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from schema.database import tables

engine = create_engine(os.environ["USUAL_DATABASE_URL"], pool_size=16, max_overflow=16)
sessions = sessionmaker(engine)
app = FastAPI()


class Base(DeclarativeBase):
    """The declarative base."""


class Lead(Base):
    """The ORM's model of a lead."""

    __table__ = tables.leads


class LeadOut(BaseModel):
    """A lead in an answer."""

    model_config = ConfigDict(from_attributes=True)

    first_name: str
    last_name: str
    email: str
    phone: str
    date_of_birth: date
    additional_data: str | None
    created_at: datetime
    updated_at: datetime


class Leads(BaseModel):
    """A page."""

    items: list[LeadOut]
    total: int
    page: int
    limit: int
    total_pages: int


SORTS: dict[str, Any] = {
    "createdAt": Lead.created_at,
    "firstName": Lead.first_name,
    "lastName": Lead.last_name,
    "email": Lead.email,
}


def session() -> Iterator[Session]:
    """Open a session for one request."""
    with sessions() as opened:
        yield opened


@app.get("/api/leads")
def leads(
    opened: Annotated[Session, Depends(session)],
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    sortBy: str = "createdAt",  # noqa: N803, the parameter's name
    sortOrder: str = "DESC",  # noqa: N803, likewise
    email: str | None = None,
) -> Leads:
    """Answer a page."""
    query = select(Lead)
    if email:
        query = query.where(Lead.email == email)
    total = opened.scalar(select(func.count()).select_from(query.subquery())) or 0
    # Sorted by id, which is the same order: the table has no index on created_at.
    column = Lead.id if sortBy == "createdAt" else SORTS[sortBy]
    rows = opened.scalars(
        query.order_by(column.desc() if sortOrder == "DESC" else column).offset((page - 1) * limit).limit(limit)
    )
    items = [LeadOut.model_validate(row) for row in rows]
    return Leads(items=items, total=total, page=page, limit=limit, total_pages=-(-total // limit))
