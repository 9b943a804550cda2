"""Stored results of query runs: their rows as objects, and the file formats."""
