"""A lead: validation rules, id and JSON encoding."""
