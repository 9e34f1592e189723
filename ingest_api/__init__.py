"""The HTTP side: authenticates, limits, checks and enqueues leads, and reads them back."""
