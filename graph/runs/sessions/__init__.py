"""Queries and mutations of database sessions, which hold a connection across requests."""
