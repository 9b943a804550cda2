"""The identity of a folder for objects: replicas that share it find the same, by any path."""

import contextlib
import os
import secrets
from pathlib import Path

_NAME = ".howdah-folder"


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
