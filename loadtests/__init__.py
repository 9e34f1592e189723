"""Load, faults and comparisons: commands of their own, never part of the tests."""
