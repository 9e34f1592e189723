"""`make bench`: what accepting and storing cost here, beside what others build and beside the machine's limits."""
