"""GraphQL and bytes over HTTP and WebSocket."""
