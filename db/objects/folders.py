"""Folders as object stores: faults, partial files, and an identity that any path leads to."""

import asyncio
import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from db.concurrency.daemon_thread import in_daemon_thread
from db.errors import Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

LOOK_S = 2.0
"""How long a request waits for a folder. One on a network whose server is down never answers."""

_NAME = ".howdah-folder"
_UNSUPPORTED = {errno.EBADF, errno.EINVAL}
"""Errors of fsync on folders of some file systems. PostgreSQL ignores the same."""
_IDENTITY = re.compile(rb"[0-9a-f]{32}")
# obstore writes `key#1` until an object is complete. A killed process leaves this file behind.
_STAGED = re.compile(r".+#\d+")


class FolderState(NamedTuple):
    error: OSError | None
    """Why it cannot be read."""
    free_bytes: int = 0


class FolderWatch:
    """Looks at a folder in a thread, and at most in one: a folder that hangs keeps its thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looking: asyncio.Future[FolderState] | None = None
        self._is_reported = False

    async def look(self) -> FolderState:
        """Callers share a look that is under way.

        Raises:
            Unavailable: the folder did not answer in time.
        """
        if self._looking is None or self._looking.get_loop() is not asyncio.get_running_loop():
            self._looking = self._begin()
        try:
            async with asyncio.timeout(LOOK_S):
                return await asyncio.shield(self._looking)
        except TimeoutError:
            if not self._is_reported:
                log.error("the folder for files did not answer in %g s: %s", LOOK_S, self._folder)  # noqa: TRY400 - no bug
            self._is_reported = True
            raise _no_answer() from None

    async def require(self) -> FolderState:
        """Raises Unavailable also if the folder is missing."""
        state = await self.look()
        if isinstance(state.error, FileNotFoundError | NotADirectoryError):
            log.error("the folder for files is missing: %s", self._folder)
            raise Unavailable(
                "The folder for files is missing.",
                hint="Ask the operator to restore it. The log contains its path.",
            )
        return state

    def _begin(self) -> "asyncio.Future[FolderState]":
        looking = in_daemon_thread(partial(_look_at, self._folder), name="objects: folder")

        def end(_: object) -> None:
            if self._looking is looking:
                self._looking, self._is_reported = None, False

        looking.add_done_callback(end)
        return looking


def _look_at(folder: Path) -> FolderState:
    try:
        with os.scandir(folder) as entries:
            next(entries, None)
        return FolderState(None, shutil.disk_usage(folder).free)
    except OSError as error:
        return FolderState(error)


def _no_answer() -> Unavailable:
    return Unavailable(
        "The folder for files does not respond.",
        hint="Try again later. The log has its path.",
        retry_after_s=5,
    )


async def in_folder(read: Callable[[Path], T], folder: Path) -> T:
    """Reads in a thread. Raises Unavailable if the folder cannot be read."""
    try:
        return await in_daemon_thread(partial(read, folder), name="objects: folder")
    except OSError as error:
        raise folder_error(folder, error) from error


def folder_of(url: str) -> Path:
    path = url.removeprefix("file:")
    return Path(path.removeprefix("//") if path.startswith("///") else path)


def has_folder_id(folder: Path) -> bool:
    return (folder / _NAME).exists()


def read_folder_id(folder: Path) -> str:
    """Reads the identity from a file of the folder, which is created first if it is missing.

    Raises:
        OSError: the folder cannot be read or written.
        Unavailable: the file is damaged.
    """
    path = folder / _NAME
    if not path.exists():
        draft = folder / f"{_NAME}.{secrets.token_hex(8)}"
        draft.write_text(secrets.token_hex(16), encoding="ascii")
        try:
            flush_to_disk(draft)
            with contextlib.suppress(FileExistsError):  # another replica was faster
                os.link(draft, path)
        finally:
            draft.unlink()
        flush_to_disk(folder)
    identity = path.read_bytes()
    if not _IDENTITY.fullmatch(identity):
        raise Unavailable(
            f"The file {path}, by which replicas recognize their common folder, is damaged.",
            hint="Stop all replicas and delete this file: the next start makes another.",
        )
    return identity.decode()


def flush_to_disk(path: Path, *, up_to: Path | None = None) -> None:
    """Writes a file or folder to the disk, then its parents up to `up_to`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
    if up_to is not None and path != up_to:
        flush_to_disk(path.parent, up_to=up_to)


def prune(folder: Path, before: float) -> int:
    """Removes partial files that were last changed before this time; returns their number."""
    removed = 0
    for parent, _, names in os.walk(folder):  # skips folders that another replica removes
        removed += sum(_prune_file(Path(parent, name), before) for name in names)
    return removed


def _prune_file(path: Path, before: float) -> bool:
    """Returns whether it was removed."""
    if not _STAGED.fullmatch(path.name):
        return False
    try:
        if path.stat().st_mtime >= before:
            return False
        path.unlink()
    except FileNotFoundError:  # another replica was faster, or the upload has ended
        return False
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error.strerror or error)
        return False
    return True


def folder_error(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"The folder {folder} for files cannot be used: {error.strerror or error}.",
        hint="Make it writable for this user, or set another HOWDAH_DATA_DIR or "
        "HOWDAH_OBJECTS_URL.",
    )
