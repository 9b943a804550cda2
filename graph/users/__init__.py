"""The GraphQL API of accounts and sessions."""
