"""Health and integrity of Howdah's own database."""
