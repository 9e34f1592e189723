"""schema.database.lead_row: a row is in the database as it was written, whatever its texts are."""

import orjson
import pytest
from sqlalchemy import select

from schema.database.lead_row import LeadRow, insert_rows
from schema.database.tables import leads
from schema.lead import lead_id
from tests.integration.backends import Backend

MOMENT = "2026-11-22 10:20:30.000001"

NASTY = [
    "'",
    "\\",
    "\\'",
    "O'Brien",
    "ends with a backslash\\",
    "'); DROP TABLE leads; -- ",
    "%s %d %% %(id)s",
    '"quoted" `names`',
    "line\nfeed\r\t\x1a",
    "nothing\0behind",
    "Žofie 日本 😀",
    "",
]


def row_of(number: int, text: str) -> LeadRow:
    data = orjson.dumps({text: text}).decode()
    return LeadRow(lead_id.at(number), text, text, text, text[:16], "1990-12-10", data, MOMENT, MOMENT)


@pytest.mark.parametrize("together", [True, False])
def test_a_row_holds_any_text_as_it_is(backend: Backend, together: bool):
    rows = [row_of(number, text) for number, text in enumerate(NASTY)]

    with backend.engine.begin() as connection:
        for part in [rows] if together else [[row] for row in rows]:
            insert_rows(connection, part)

    with backend.engine.connect() as connection:
        found = connection.execute(select(leads).order_by(leads.c.id)).all()
    columns = [(each.first_name, each.last_name, each.email, each.phone, each.additional_data) for each in found]
    assert columns == [(row.first_name, row.last_name, row.email, row.phone, row.additional_data) for row in rows]
    assert {each.date_of_birth.isoformat() for each in found} == {"1990-12-10"}
    assert {each.updated_at.isoformat(" ") for each in found} == {MOMENT}


def test_a_row_without_additional_data_holds_null(backend: Backend):
    with backend.engine.begin() as connection:
        insert_rows(connection, [row_of(1, "None")._replace(additional_data=None)])

        assert connection.execute(select(leads.c.additional_data)).scalar_one() is None
