"""The audit trail: who did what, without a value of a lead."""
