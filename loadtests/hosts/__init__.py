"""`make chaos-hosts`: whole hosts that are lost, cut off, slow, paused or full, and what became of each 202."""
