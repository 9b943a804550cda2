"""Routes beside GraphQL and files: sign-in, reset of a password, and the schema."""
