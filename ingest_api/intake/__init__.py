"""From a validated lead to its 202: group commit, the append script, rate limit and tickets."""
