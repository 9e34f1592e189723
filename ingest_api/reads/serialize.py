"""Serializes a stored lead for a client."""

from typing import Any

import orjson
from sqlalchemy import Row

from schema.lead import lead_id
from schema.lead.codec import format_time


def lead_to_json(lead: Row[Any]) -> dict[str, Any]:
    """Return a row of the table `leads` as the JSON object of the contract, with what not every lead has if it does."""
    data = lead.additional_data
    shown = {
        "id": lead_id.to_text(bytes(lead.id)),
        "firstName": lead.first_name,
        "lastName": lead.last_name,
        "email": lead.email,
        "phone": lead.phone,
        "dateOfBirth": lead.date_of_birth.isoformat(),
        "additionalData": None if data is None else orjson.Fragment(data),
    }
    if lead.consent is not None:
        shown["consent"] = orjson.Fragment(lead.consent)
    shown |= {"createdAt": format_time(lead.created_at), "updatedAt": format_time(lead.updated_at)}
    if lead.source is not None:
        shown["source"] = lead.source
    if lead.duplicate_of is not None:
        shown["duplicateOf"] = lead_id.to_text(bytes(lead.duplicate_of))
    return shown | {"state": "stored"}
