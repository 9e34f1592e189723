"""Counts of stored leads by time bucket: written with the rows, looked up by the reads, compacted later."""
