"""Turns a selection of fields into Python functions."""
