"""The request log: the last requests and, separately, the last errors, redacted, in Redis.

`redaction` removes secrets, `record` is the stored form of one request, `collector` buffers requests and writes
them, `reader` reads them back and `command` shows them.
"""
