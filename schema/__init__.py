"""What the API and the workers share: the lead, the stream, the tables, the settings."""

__version__ = "0.2.0.dev0"
