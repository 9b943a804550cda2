"""`backup` writes every row into one file; `restore` brings them into an empty database.

archive   the file: a zip with a manifest, streamed in both directions
tables    what the database says its tables are, and COPY
"""

from db.backup.archive import Manifest
from db.backup.backup import backup
from db.backup.restore import restore

__all__ = ["Manifest", "backup", "restore"]
