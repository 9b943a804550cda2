"""The GraphQL API of the health of the server."""
