"""Waiting, turns and pools for asyncio, without a domain."""
