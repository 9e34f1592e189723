"""FastAPI and SQLAlchemy: INSERT and COMMIT before the answer."""
