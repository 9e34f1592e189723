"""Two releases at once: the last one's code on this one's tables, and a rolling upgrade between them."""

# What to upgrade from. Set it at each release, and remove what its successor no longer needs (docs/adr/0011).
LAST_RELEASE = "8cbd29f6005024f0760102db64c1bb98eeae7c8e"
