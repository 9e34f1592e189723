"""`make chaos-hosts`: whole hosts that are lost, cut off, slow, paused or full, and a count of what became of each 202."""
