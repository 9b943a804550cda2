"""The structure of a statement that is being written."""
