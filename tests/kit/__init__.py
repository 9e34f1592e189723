"""What tests, chaos and benchmarks start: servers, the service, and leads to send."""
