"""`howdah serve` and `howdah demo`: one process or several, and what they print."""
