"""What repositories are built from."""
