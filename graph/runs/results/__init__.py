"""GraphQL types of results: rows, cells, statistics of columns, and files."""
