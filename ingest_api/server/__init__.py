"""Everything that knows gunicorn or uvicorn."""
