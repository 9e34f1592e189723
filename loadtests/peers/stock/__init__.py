"""Stock Celery on Redis: one message for each lead, one INSERT for each message."""
