"""The data folder of the demo."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import msgspec
import platformdirs

from db.errors import BadInput, Unavailable
from db.postgres.embedded import erase

_CLUSTERS = ("postgres", "shop")
_REMOVED_BY_RESET = ("objects", "sign-in", "secret_key", "credential_key")


class DemoState(msgspec.Struct, frozen=True):
    """The content of `demo.json`. The file also marks the folder as one that may be emptied."""

    complete: bool = False
    """False until all example data exists."""
    connection_id: UUID | None = None
    """The saved connection to the shop. The user may have deleted it."""
    shop_port: int | None = None


class DemoFolder:
    """A folder with `demo.json` beside what `howdah serve` keeps in its data folder.

    Raises:
        BadInput: the folder contains files and is not a demo's, so `reset` would delete them.
        Unavailable: the folder cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path or Path(platformdirs.user_data_dir("howdah-demo", appauthor=False))
        self._file = self.path / "demo.json"
        with self._usable():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._file.exists():
                self._require_empty()
                self.write(DemoState())

    @property
    def state(self) -> DemoState:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=DemoState)
        except (OSError, msgspec.DecodeError):
            return DemoState()

    def write(self, state: DemoState) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(state))
        fresh.rename(self._file)

    async def reset(self) -> None:
        """Delete all data. The logs stay, because this process writes them.

        Raises:
            Unavailable: a demo is running on the folder.
        """
        for cluster in _CLUSTERS:
            await erase(self.path / cluster)
        with self._usable():
            for name in _REMOVED_BY_RESET:
                path = self.path / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            self.write(DemoState())

    def _require_empty(self) -> None:
        if any(self.path.iterdir()):
            raise BadInput(
                f"The folder {self.path} contains files, but not those of a demo.",
                hint="Pass a new or an empty folder as --data-dir.",
            )

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(
                f"The folder {self.path} cannot be used: {error.strerror or error}.",
                hint="Make it writable for this user, or pass another --data-dir.",
            ) from error
