"""The tests: unit (no services), integration (real servers), system (from outside)."""
