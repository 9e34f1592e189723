"""`make bench`: rates and costs of accepting and storing, compared with peers and with the machine's limits."""
