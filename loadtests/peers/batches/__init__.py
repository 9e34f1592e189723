"""celery-batches on Redis: one message for each lead, one multi-row INSERT for up to a hundred messages.

It pins Celery below 5.7, so it runs in a virtual environment of its own, from `requirements.lock` beside this file.
"""
