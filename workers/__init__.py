"""The Celery side: moves leads from the stream into the database, in batches."""
