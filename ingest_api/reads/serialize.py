"""How a stored lead looks to a client."""

from typing import Any

import orjson

from schema.database.stored_lead import StoredLead
from schema.lead import lead_id


def stored_lead(lead: StoredLead) -> dict[str, Any]:
    """Return a stored lead as the JSON object of the contract."""
    data = lead.additional_data
    return {
        "id": lead_id.to_text(lead.id),
        "firstName": lead.first_name,
        "lastName": lead.last_name,
        "email": lead.email,
        "phone": lead.phone,
        "dateOfBirth": lead.date_of_birth,
        "additionalData": None if data is None else orjson.Fragment(data),
        "createdAt": _rfc3339(lead.created_at),
        "updatedAt": _rfc3339(lead.updated_at),
        "state": "stored",
    }


def _rfc3339(moment: str) -> str:
    return f"{moment[:10]}T{moment[11:]}Z"
