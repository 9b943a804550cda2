"""The installation that the database belongs to: a copy of the database is another one.

installation  the table, and how a copy is recognized
copied_work   ends what the original executes, in the rows of the copy
swept_store   keeps a copy from deleting the objects of its original
backup_hold   keeps everything from deleting the objects that a backup copies
"""

from db.installation.backup_hold import HOLD_FILE_BYTES
from db.installation.copied_work import end_copied_work
from db.installation.installation import (
    Installation,
    is_at_home,
    is_own,
    read_installation,
    recognize,
    renew,
)
from db.installation.swept_store import SweptStore

__all__ = [
    "HOLD_FILE_BYTES",
    "Installation",
    "SweptStore",
    "end_copied_work",
    "is_at_home",
    "is_own",
    "read_installation",
    "recognize",
    "renew",
]
