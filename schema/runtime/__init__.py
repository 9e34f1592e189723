"""Shared by all processes: logs, process metrics and Redis clients."""
