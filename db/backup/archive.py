"""The file of a backup: a zip of `rows/<table>`, the objects and, written last, `manifest.json`.

A manifest says what must be there, so that a file cut short or changed is noticed.
"""

import contextlib
import os
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Annotated
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import msgspec

from db.backup.bundle import (
    BYTES,
    LIST,
    ObjectsManifest,
    ObjectsReader,
    ObjectsWriter,
    writing_objects,
)
from db.errors import BadInput, Conflict, Unavailable

FORMAT = 1
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 10_000_000
# The last is zipfile's word for a compression that a damaged byte made up.
_DAMAGE = (BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError)

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_]*$")]


class TableManifest(msgspec.Struct, frozen=True):
    """What the file holds of one table."""

    name: Name
    columns: list[Name]
    rows: int
    sha256: str
    """Of COPY's text of all rows in the order of the primary key."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds, and of when it is."""

    format: int = FORMAT
    howdah: str
    revision: str
    created_at: datetime
    tables: list[TableManifest]
    objects: ObjectsManifest

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


class Writer:
    """Writes one archive."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive

    def rows(self, table: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(_rows_of(table), "w", force_zip64=True)

    def objects(self) -> contextlib.AbstractContextManager[ObjectsWriter]:
        return writing_objects(self._archive)

    def seal(self, manifest: Manifest) -> None:
        self._archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


class Reader:
    """Reads one archive."""

    def __init__(self, archive: ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self.manifest = self._read_manifest()
        self.objects = ObjectsReader(archive)

    def rows(self, table: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(_rows_of(table))

    def _read_manifest(self) -> Manifest:
        if self._archive.getinfo(_MANIFEST).file_size > _LARGEST_MANIFEST:
            raise damaged(self._path)
        text = self._archive.read(_MANIFEST)
        try:
            kind = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("format")
            if kind is None or msgspec.json.decode(kind, type=int) != FORMAT:
                raise _unknown_format(self._path)
            manifest = msgspec.json.decode(text, type=Manifest)
        except msgspec.DecodeError as error:
            raise damaged(self._path) from error
        for member in (*(_rows_of(table.name) for table in manifest.tables), BYTES, LIST):
            self._archive.getinfo(member)
        return manifest


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """Makes the file, readable for us alone; it gets its name once it is whole and on the disk."""
    if path.exists():
        raise Conflict(
            f"There is a file {path} already.", hint="Take another name, or move it away."
        )
    fresh = path.with_name(f"{path.name}.unfinished-{os.getpid()}")
    try:
        with _private(fresh) as file:
            with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=3) as archive:
                yield Writer(archive)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
    except (ConnectionError, TimeoutError):
        raise  # of the database
    except OSError as error:
        raise Unavailable(
            f"The backup cannot be written to {path}: {error.strerror or error}.",
            hint="Check the folder and the free space of its disk.",
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Reader]:
    try:
        with ZipFile(path) as archive:
            yield Reader(archive, path)
    except _DAMAGE as error:
        raise damaged(path) from error
    except (ConnectionError, TimeoutError):
        raise  # of the database
    except OSError as error:
        raise BadInput(
            f"The backup {path} cannot be read: {error.strerror or error}.",
            hint="Give the path of a file that `howdah backup` made.",
        ) from error


def damaged(path: Path) -> BadInput:
    return BadInput(
        f"{path} is no backup of Howdah, or it is damaged.",
        hint="Nothing was changed. Restore an older backup, or fetch this file again.",
    )


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b")


def _rows_of(table: str) -> str:
    return f"rows/{table}"


def _unknown_format(path: Path) -> BadInput:
    return BadInput(
        f"{path} is of a format that this Howdah does not know.",
        hint="Restore it with the Howdah that made it, or a newer one.",
    )
