"""Sorts, filters and summarises the rows of results, which are lines of JSON lists.

Imports the standard library and msgspec only, because a process of its own that has to start fast
does this for large results.
"""
