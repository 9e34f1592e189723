"""The database: engines, classification of errors, tables and migrations."""
