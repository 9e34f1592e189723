"""`make bench-read`: lists over millions of leads, beside the usual endpoint."""
