"""Destinations of connections, and the policy of which ones are allowed."""
