"""Migrations of Howdah's own database, forwards and back."""
