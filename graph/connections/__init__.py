"""The GraphQL API of saved database connections, their catalogue and preferences."""
