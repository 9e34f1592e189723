"""The production form in Docker, from a fresh clone: `make test-compose`. CI has no Docker and leaves it out."""
