"""Limits the memory of responses that clients do not read.

An operation has given its slot back when its response is written, and the connection keeps it for
up to a minute: 60 connections of one user held 1.6 GB.
"""

import contextlib
from collections import Counter
from collections.abc import Hashable, Iterator

from db.errors import Overloaded

LARGE_BYTES = 2**20
MAX_BYTES = 256 * 2**20
"""Of one user, or of one network without a user."""


class UnreadResponses:
    """Counts the large responses of each reader that are being written."""

    def __init__(self) -> None:
        self._bytes: Counter[Hashable] = Counter()

    @contextlib.contextmanager
    def writing(self, reader: Hashable, size: int) -> Iterator[None]:
        """Hold this from before a large response is written until the client has read it.

        Raises:
            Overloaded: The reader has too much to read already.
        """
        if self._bytes[reader] + size > MAX_BYTES:
            raise Overloaded(
                f"Responses that you have not read yet have more than {MAX_BYTES:,} bytes.",
                hint="Read them, then retry, or request fewer at once.",
                retry_after_s=1,
                cause="unread_responses",
            )
        self._bytes[reader] += size
        try:
            yield
        finally:
            self._bytes[reader] -= size
            if not self._bytes[reader]:
                del self._bytes[reader]
