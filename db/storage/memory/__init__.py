"""The in-memory twin of storage, for unit tests of what stands above it."""

from db.storage.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
