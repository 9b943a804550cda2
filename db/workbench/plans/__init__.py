"""Query plans: EXPLAIN of a user's statement, its nodes with their own times, and its text."""
