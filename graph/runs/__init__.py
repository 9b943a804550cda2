"""The GraphQL API of query runs."""
