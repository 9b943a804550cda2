"""The backup file: a zip of `rows/<table>`, the objects and, written last, `manifest.json`.

The manifest has counts and checksums, which reveal a truncated or changed file.
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
    write_objects,
)
from db.errors import BadInput, Conflict, Unavailable

FORMAT = 1
_MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 10_000_000
# zipfile raises NotImplementedError for a compression method that a damaged byte names.
_DAMAGE = (BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError)

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z_][a-z0-9_]*$")]


class TableManifest(msgspec.Struct, frozen=True):
    name: Name
    columns: list[Name]
    rows: int
    sha256: str
    """Checksum of the text that COPY writes for all rows in the order of the primary key."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
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
    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive

    def rows(self, table: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(_rows_of(table), "w", force_zip64=True)

    def objects(self) -> contextlib.AbstractContextManager[ObjectsWriter]:
        return write_objects(self._archive)

    def write_manifest(self, manifest: Manifest) -> None:
        self._archive.writestr(_MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


class Reader:
    def __init__(self, archive: ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self.manifest = self._read_manifest()
        self.objects = ObjectsReader(archive)

    def rows(self, table: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(_rows_of(table))

    def _read_manifest(self) -> Manifest:
        if self._archive.getinfo(_MANIFEST).file_size > _MAX_MANIFEST_BYTES:
            raise damaged_error(self._path)
        text = self._archive.read(_MANIFEST)
        try:
            kind = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("format")
            if kind is None or msgspec.json.decode(kind, type=int) != FORMAT:
                raise _unknown_format_error(self._path)
            manifest = msgspec.json.decode(text, type=Manifest)
        except msgspec.DecodeError as error:
            raise damaged_error(self._path) from error
        for member in (*(_rows_of(table.name) for table in manifest.tables), BYTES, LIST):
            self._archive.getinfo(member)
        return manifest


@contextlib.contextmanager
def write_archive(path: Path) -> Iterator[Writer]:
    """Create the file, readable by this user only. It is renamed to `path` after an fsync."""
    if path.exists():
        raise Conflict(
            f"The file {path} already exists.", hint="Pass another name, or move the file away."
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
        raise  # from the database
    except OSError as error:
        raise Unavailable(
            f"The backup cannot be written to {path}: {error.strerror or error}.",
            hint="Check the folder and the free disk space.",
        ) from error
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def read_archive(path: Path) -> Iterator[Reader]:
    try:
        with ZipFile(path) as archive:
            yield Reader(archive, path)
    except _DAMAGE as error:
        raise damaged_error(path) from error
    except (ConnectionError, TimeoutError):
        raise  # from the database
    except OSError as error:
        raise BadInput(
            f"The backup {path} cannot be read: {error.strerror or error}.",
            hint="Pass the path of a file that `howdah backup` wrote.",
        ) from error


def damaged_error(path: Path) -> BadInput:
    return BadInput(
        f"{path} is not a Howdah backup, or it is damaged.",
        hint="Nothing was changed. Restore another backup, or copy this file again.",
    )


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b")


def _rows_of(table: str) -> str:
    return f"rows/{table}"


def _unknown_format_error(path: Path) -> BadInput:
    return BadInput(
        f"{path} has a format that this Howdah does not support.",
        hint="Restore it with the Howdah that wrote it, or with a newer one.",
    )
