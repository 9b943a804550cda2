"""Bytes of files and results over HTTP: uploads, downloads and their links."""
