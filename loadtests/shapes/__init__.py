"""`make load-test`: realistic clients at a steady rate and with a spike, compared with thresholds."""
