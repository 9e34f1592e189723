"""The request log: the last requests and, apart, the last errors, whole and without secrets, in Redis.

`redaction` takes out what nobody may read, `record` is one request as it is kept, `collector` gathers and hands
over what a flush takes along, `reader` finds it again and `command` shows it.
"""
