"""The GraphQL API of storage: providers, buckets and files."""
