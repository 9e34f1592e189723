"""From a checked lead to its 202: the flush that many requests share, and the script that appends."""
