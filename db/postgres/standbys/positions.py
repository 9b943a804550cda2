"""Positions in the write-ahead log, and the form in which clients keep them."""

import re
from hashlib import sha256

from sqlalchemy import text

from db.postgres.statements import compile_statement

BEYOND = 2**64 - 1
"""No server has it: it stands for a position that could not be read, or is not to be shown."""

MARK_CHARACTERS = 8
_FORM = re.compile(rf"([0-9a-f]{{{MARK_CHARACTERS}}})\.([0-9a-f]{{1,16}})")

OF_PRIMARY = compile_statement(
    text("SELECT (pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8")
)
"""Fails on a standby."""

# A commit becomes visible before the position says so. While a record is being replayed, one more
# byte is a position that only a server has which has replayed this record too.
OF_STANDBY = compile_statement(
    text("""SELECT (CASE WHEN pg_catalog.pg_is_in_recovery()
          THEN replayed - '0/0'::pg_lsn
            + (replayed IS DISTINCT FROM pg_catalog.pg_last_wal_receive_lsn())::int
          ELSE pg_catalog.pg_current_wal_insert_lsn() - '0/0'::pg_lsn END)::int8
        FROM pg_catalog.pg_last_wal_replay_lsn() AS replayed""")
)
"""A position that includes all that earlier statements on this server have read."""


def mark_of(system: str) -> str:
    """Marks the positions of one cluster and its standbys. Another cluster has other positions."""
    return sha256(b"howdah position " + system.encode()).hexdigest()[:MARK_CHARACTERS]


def parse_position(value: str, mark: str) -> int | None:
    """None if it is not a position of the cluster with this mark."""
    match = _FORM.fullmatch(value)
    return int(match[2], 16) if match is not None and match[1] == mark else None


def format_position(position: int, mark: str) -> str:
    return f"{mark}.{position:x}"
