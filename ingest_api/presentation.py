"""How a stored lead looks to a client."""

from typing import Any

import orjson
from sqlalchemy import Row

from schema import lead_id
from schema.lead import format_time


def stored_lead(row: Row[Any]) -> dict[str, Any]:
    """Return a row of the table `leads` as the JSON object of the contract."""
    data = row.additional_data
    return {
        "id": lead_id.to_text(bytes(row.id)),
        "firstName": row.first_name,
        "lastName": row.last_name,
        "email": row.email,
        "phone": row.phone,
        "dateOfBirth": row.date_of_birth.isoformat(),
        "additionalData": None if data is None else orjson.Fragment(data),
        "createdAt": format_time(row.created_at),
        "updatedAt": format_time(row.updated_at),
        "state": "stored",
    }
