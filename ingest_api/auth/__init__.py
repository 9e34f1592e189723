"""Who may do what: users, tokens and the keys that sign them."""
