"""What every request goes through: middleware, body, envelope, whose address it is, and its log line."""
