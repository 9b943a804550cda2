"""The GraphQL API of saved queries."""
