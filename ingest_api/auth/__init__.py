"""Authentication and roles: users, tokens and the keys that sign them."""
