"""The GraphQL API of the server's own health."""
