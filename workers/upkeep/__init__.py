"""The tasks that beat sends: the sweep and the maintenance."""
