"""A lead: its rules, its id, and how it is written."""
