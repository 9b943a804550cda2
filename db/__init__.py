"""Everything that holds state: rows, events, secrets, bytes. Knows nothing of GraphQL or HTTP."""
