"""`make load-test`: clients as they are, at a steady rate and with a spike, held against thresholds."""
