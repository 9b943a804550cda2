"""The catalogue of a user's database."""
