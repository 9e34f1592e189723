"""The Helm chart, and what it has from declarations in Python."""
