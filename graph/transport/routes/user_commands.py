"""`howdah user` commands as this server's user types them, for the banner and for hints."""

import shlex
import shutil
import sys
from pathlib import Path

from db.settings import Settings, default_data_dir


def user_command(settings: Settings, *words: str) -> str:
    """A command that works in the directory and with the data folder of this server."""
    folder = settings.data_dir
    options = [] if folder == default_data_dir() else ["--data-dir", str(folder)]
    return shlex.join([_program(), "user", *words, *options])


def _program() -> str:
    """`howdah` if it is on the PATH, else its path: `make serve` activates no environment."""
    beside = Path(sys.executable).with_name("howdah")
    if shutil.which("howdah") is not None or not beside.exists():
        return "howdah"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
