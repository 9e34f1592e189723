"""From the stream to rows: what one ticket does."""
