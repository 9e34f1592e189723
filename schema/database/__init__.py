"""The database: engines, what its errors mean, the tables and their migrations."""
