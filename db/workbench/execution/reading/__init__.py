"""Reads what the server answers to a statement: rows, columns, notices and errors."""
