"""The GraphQL API of the audit log."""
