"""`howdah user`: its options, and its work."""
