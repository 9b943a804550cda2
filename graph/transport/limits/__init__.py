"""Limits of senders: their sockets, turns of the loop, and memory of requests and responses."""
