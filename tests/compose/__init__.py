"""The production form in Docker, from a fresh clone: `make test-compose`. Needs a Docker engine, so CI leaves it out."""
