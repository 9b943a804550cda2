"""One-time sign-in links of a development server, kept in its data folder.

sign-in/            only for the account that the server runs as (0700)
    address         URL of the server
    wrong-codes     one byte for each wrong code since the latest link was made
    <sha256>        an unused link, named by the digest of its code; an empty file

Files, because several worker processes serve one link, and a command adds one while
the server runs. Deleting the file claims the link: that succeeds in exactly one process.
"""

import contextlib
import hashlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from db.errors import NotFound

log = logging.getLogger(__name__)

MAX_WRONG_CODES = 10
"""Codes of 256 bits cannot be guessed; this limit makes an attempt visible in the log."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class SignInLinks:
    """The sign-in links of the server that uses a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "sign-in"
        self._address = self._folder / "address"
        self._wrong_codes = self._folder / "wrong-codes"

    @contextlib.contextmanager
    def serving(self, address: str) -> Iterator[None]:
        """Accept links for the server at `address` until the block ends."""
        self._start(address)
        try:
            yield
        finally:
            if self.address_of_server() == address:  # else a later server has taken over the folder
                shutil.rmtree(self._folder, ignore_errors=True)

    def make(self) -> str:
        """A new link for a browser on this machine.

        Raises:
            NotFound: No development server uses the data folder.
        """
        address = self.address_of_server()
        if address is None:
            raise NotFound(
                f"No development server is running on the data folder {self._folder.parent}.",
                hint="Start `howdah serve`, which prints a link, or pass its --data-dir.",
            )
        code = secrets.token_urlsafe(32)
        self._wrong_codes.unlink(missing_ok=True)
        _write_private(self._folder / _digest(code))
        return f"{address}#sign-in={code}"

    def address_of_server(self) -> str | None:
        """The URL of GraphQL at the development server, or None if none runs."""
        try:
            return self._address.read_text(encoding="ascii")
        except OSError:
            return None

    def claim(self, code: str) -> bool:
        """Uses up the link with this code. False if there is no such link.

        Not vulnerable to timing: the caller does not control the digest that is looked up.
        """
        try:
            (self._folder / _digest(code)).unlink()
        except FileNotFoundError:
            self._count_wrong_code()
            return False
        return True

    def _start(self, address: str) -> None:
        """Replaces the folder, which voids the links of an earlier start."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(self._address, address)
        if os.geteuid() == 0:  # the owner of the data folder can start without root next time
            owner = self._folder.parent.stat()
            for path in (self._folder, self._address):
                os.chown(path, owner.st_uid, owner.st_gid)

    def _count_wrong_code(self) -> None:
        unused = self._unused()
        if not unused:
            return
        wrong_codes = os.open(self._wrong_codes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(wrong_codes, "ab") as file:
            file.write(b".")
            file.flush()
            count = file.tell()
        if count < MAX_WRONG_CODES:
            return
        for link in unused:
            link.unlink(missing_ok=True)
        log.warning(
            "%d wrong sign-in codes were sent, so the sign-in link is void. "
            "`howdah user sign-in-link` prints a new one.",
            count,
        )

    def _unused(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if _DIGEST.fullmatch(path.name)]
        except FileNotFoundError:  # the server has stopped
            return []


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _write_private(path: Path, text: str = "") -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
