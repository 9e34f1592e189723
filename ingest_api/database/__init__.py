"""The way to the database and its replica, off the event loop."""
