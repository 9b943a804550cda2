"""Stored results of query runs: pages, downloads, exports and retention."""
