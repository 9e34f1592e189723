"""The marshmallow schemas of query parameters and bodies."""
