"""`make chaos`: load, seeded faults, and a count of what was lost and what was stored twice."""
