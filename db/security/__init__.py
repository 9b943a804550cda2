"""Keys, sealed credentials and password hashes."""
