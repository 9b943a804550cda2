"""The users' databases: which may be reached, how they are reached, and what is lent of them."""
