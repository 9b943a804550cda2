"""The in-memory twin of storage, for unit tests of what stands above it."""

from db.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
