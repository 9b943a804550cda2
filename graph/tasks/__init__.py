"""The GraphQL API of tasks."""
