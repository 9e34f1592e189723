"""Reads from the database and its replica, off the event loop."""
