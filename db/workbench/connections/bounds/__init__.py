"""Bounds of what a connection buffers of a row, before libpq receives it."""
