"""Faults put into the code on purpose, and the tests that must notice them: `make faults`."""
