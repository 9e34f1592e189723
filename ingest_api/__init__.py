"""The HTTP API: authenticates, limits, validates and enqueues leads, and reads them back."""
