"""GraphQL over HTTP and WebSocket. Uses `db`; contains no SQL."""
