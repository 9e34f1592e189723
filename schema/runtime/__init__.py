"""What every process has: logs, metrics of itself, and its clients of Redis."""
