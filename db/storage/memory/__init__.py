"""The in-memory twin of storage, for unit tests without a database (decision 13)."""

from db.storage.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
