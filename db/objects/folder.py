"""A folder for objects: its identity, and the partial files that killed processes leave in it."""

import contextlib
import os
import re
import secrets
from pathlib import Path

_NAME = ".howdah-folder"
# obstore writes `key#1` until an object is complete. A killed process leaves this file behind.
_STAGED = re.compile(r".+#\d+")


def read_folder_id(folder: Path) -> str:
    """Reads the identity from a file of the folder, which is created first if it is missing.

    Replicas that share the folder find the same, by any path.

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


def delete_staged(folder: Path, before: float) -> int:
    """Deletes the partial files that were last written before a Unix time; returns their number."""
    removed = 0
    for path in folder.rglob("*#*"):
        with contextlib.suppress(FileNotFoundError):
            if _STAGED.fullmatch(path.name) and path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
