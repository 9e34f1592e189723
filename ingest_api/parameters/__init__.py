"""What clients may ask for: the schemas of queries."""
