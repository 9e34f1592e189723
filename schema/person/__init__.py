"""One person's data: where they are, and their erasure. `python -m schema person`."""
