"""The queue in Redis: the stream, its tickets, dead letters and the counts of accepted leads."""
