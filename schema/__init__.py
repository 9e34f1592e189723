"""What both sides of the pipeline agree on: the lead, the stream, the tables, the settings."""

__version__ = "0.1.0"
