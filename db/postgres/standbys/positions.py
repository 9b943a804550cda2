"""Positions in the write-ahead log, and the form in which clients keep them."""

import hmac
import os

from sqlalchemy import text

from db.postgres.statements import compile_statement

BEYOND = 2**64 - 1
"""No server has it: it stands for a position that was not read, or could not be."""

MAX_POSITIONS = 32
"""What one request may send. Clients keep fewer (docs/clients.md)."""

_PART_BYTES = 8
"""The size of each of the three parts of the form: a nonce, the masked position, a MAC."""

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


class PositionCipher:
    """Encrypts the positions of one cluster and its standbys.

    A client learns nothing from them, not even which of two is later: the exact position tells how
    much others write. All replicas have the same key.
    """

    def __init__(self, key: bytes, *, system: str) -> None:
        """`system` is the system identifier: another cluster has other positions."""
        self._key = hmac.digest(key, system.encode(), "sha256")

    def encrypt(self, position: int) -> str:
        nonce = os.urandom(_PART_BYTES)
        body = nonce + self._mask(position.to_bytes(_PART_BYTES, "big"), nonce)
        return (body + self._code(b"mac" + body)).hex()

    def decrypt(self, text: str) -> int | None:
        """None if it is not a position of this cluster."""
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            return None
        nonce, body, code = raw[:_PART_BYTES], raw[:-_PART_BYTES], raw[-_PART_BYTES:]
        if len(raw) != 3 * _PART_BYTES or not hmac.compare_digest(code, self._code(b"mac" + body)):
            return None
        return int.from_bytes(self._mask(body[_PART_BYTES:], nonce), "big")

    def latest(self, header: str) -> int | None:
        """The latest of the positions that a client sends; None if it sends none, or another text.

        A text that is no position may stand for one, such as one of an earlier secret key.
        """
        texts = header.replace(",", " ").split()
        if not 0 < len(texts) <= MAX_POSITIONS:
            return None
        latest = 0
        for each in texts:
            if (position := self.decrypt(each)) is None:
                return None
            latest = max(latest, position)
        return latest

    def _mask(self, part: bytes, nonce: bytes) -> bytes:
        mask = self._code(b"mask" + nonce)
        return bytes(one ^ other for one, other in zip(part, mask, strict=True))

    def _code(self, message: bytes) -> bytes:
        return hmac.digest(self._key, message, "sha256")[:_PART_BYTES]
