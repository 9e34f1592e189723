"""`make bench-hosts`: accepted and stored leads a second with one to four hosts, each held to a share of a core."""
