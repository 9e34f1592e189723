"""Shared by tests, chaos runs and benchmarks: servers, the service, and leads to send."""
