"""Sorts, filters and summarises stored results, and keeps the order that was found beside them."""
