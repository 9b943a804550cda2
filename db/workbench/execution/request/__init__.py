"""A request to run a statement: its validation, the statement of a saved query, its origin."""
