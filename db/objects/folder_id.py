"""A folder for objects, and its identity: replicas that share it find the same, by any path."""

import contextlib
import os
import secrets
from pathlib import Path

from db.errors import Unavailable

_NAME = ".howdah-folder"


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


def folder_of(url: str) -> Path:
    path = url.removeprefix("file:")
    return Path(path.removeprefix("//") if path.startswith("///") else path)


def folder_error(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"The folder {folder} for files cannot be created: {error.strerror or error}.",
        hint="Make it writable for this user, or set another HOWDAH_DATA_DIR or "
        "HOWDAH_OBJECTS_URL.",
    )
