"""Changes rows of a table by their key: all changes of a request, or none."""
