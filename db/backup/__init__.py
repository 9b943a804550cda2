"""`backup` writes all rows and files to one archive; `restore` restores them.

archive   the zip file with its manifest, streamed in both directions
bundle    the objects in it: their bytes, and a list with their checksums
tables    the tables of the database, and COPY
first_writes what a server that was only started has written: it is no obstacle
indexes   drops indexes and foreign keys for a load, and makes them again
objects   copies between the archive and the object store
signature the signature of the manifest
"""

from db.backup.archive import Manifest
from db.backup.backup import backup
from db.backup.restore import restore
from db.backup.signature import BackupKeys

__all__ = ["BackupKeys", "Manifest", "backup", "restore"]
