"""The way to Howdah's own database: its URL, the hosts, a pooler, and a connection."""
