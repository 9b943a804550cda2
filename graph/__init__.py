"""GraphQL over HTTP and WebSocket. Knows `db`; never SQL."""
