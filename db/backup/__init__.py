"""`backup` writes every row and every file into one archive; `restore` brings them back.

archive   the file: a zip with a manifest, streamed in both directions
bundle    the part of it that is objects: their bytes, and a list with their checksums
tables    what the database says its tables are, and COPY
objects   between the archive and the object store
"""

from db.backup.archive import Manifest
from db.backup.backup import backup
from db.backup.restore import restore

__all__ = ["Manifest", "backup", "restore"]
