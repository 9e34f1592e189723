"""HTTP for all resources: middleware, body, envelope, client address and access log."""
