"""What beat sends: the sweep, and what grows with time."""
