"""`python -m ingest_api import FILE`: a client of the HTTP API, like any other, that uploads a file in bulk."""
