"""Folders as object stores: faults, partial files, and an identity that any path leads to."""

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from db.errors import Unavailable

T = TypeVar("T")

_NAME = ".howdah-folder"
# obstore writes `key#1` until an object is complete. A killed process leaves this file behind.
_STAGED = re.compile(r".+#\d+")


async def in_folder(read: Callable[[Path], T], folder: Path) -> T:
    """Reads in a thread. Raises Unavailable if the folder cannot be read."""
    try:
        return await asyncio.to_thread(read, folder)
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
    """
    path = folder / _NAME
    if not path.exists():
        draft = folder / f"{_NAME}.{secrets.token_hex(8)}"
        draft.write_text(secrets.token_hex(16), encoding="ascii")
        try:
            with contextlib.suppress(FileExistsError):  # another replica was faster
                os.link(draft, path)
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")


def prune(folder: Path, before: float) -> int:
    """Removes partial files that were last changed before this time; returns their number."""
    removed = 0
    for path in folder.rglob("*#*"):
        with contextlib.suppress(FileNotFoundError):
            if _STAGED.fullmatch(path.name) and path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


def folder_error(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"The folder {folder} for files cannot be used: {error.strerror or error}.",
        hint="Make it writable for this user, or set another HOWDAH_DATA_DIR or "
        "HOWDAH_OBJECTS_URL.",
    )
