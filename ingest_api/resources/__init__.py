"""The endpoints: each parses, asks and answers."""
