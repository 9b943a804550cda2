"""The backup file: a zip of `rows/<table>`, the objects, `manifest.json` and `signature.json`.

The manifest has counts and checksums, which reveal a truncated file or a damaged one. Its signature
reveals a file that was changed on purpose.
"""

import contextlib
import hashlib
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
    PIECE_BYTES,
    ObjectsManifest,
    ObjectsReader,
    ObjectsWriter,
    write_objects,
)
from db.backup.signature import BackupKeys, UnverifiedBackup
from db.errors import BadInput, Conflict, Unavailable
from db.objects.folders import flush_to_disk

FORMAT = 1
_MANIFEST = "manifest.json"
_SIGNATURE = "signature.json"
_MAX_MANIFEST_BYTES = 10_000_000
_MAX_SIGNATURE_BYTES = 4_096
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
    def __init__(self, archive: ZipFile, keys: BackupKeys) -> None:
        self._archive = archive
        self._keys = keys

    def rows(self, table: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(_rows_of(table), "w", force_zip64=True)

    def objects(self) -> contextlib.AbstractContextManager[ObjectsWriter]:
        return write_objects(self._archive)

    def write_manifest(self, manifest: Manifest) -> None:
        text = msgspec.json.format(msgspec.json.encode(manifest))
        self._archive.writestr(_MANIFEST, text)
        self._archive.writestr(_SIGNATURE, self._keys.sign(text))


class Reader:
    """Raises BadInput if the manifest is not that of the signature.

    `unverified` is the error of an archive whose origin is unknown, or None.
    """

    def __init__(self, archive: ZipFile, path: Path, keys: BackupKeys) -> None:
        self._archive = archive
        self._path = path
        self.unverified: UnverifiedBackup | None = None
        self.manifest = self._read_manifest(keys)
        self.objects = ObjectsReader(archive)

    def rows(self, table: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(_rows_of(table))

    def check(self) -> None:
        """Read all members, so that a change is found before anything is written.

        Raises:
            BadZipFile: A member is missing, changed, out of order or not in the manifest.
        """
        expected = [*(_rows_of(table.name) for table in self.manifest.tables), BYTES, LIST]
        present = [name for name in self._archive.namelist() if name != _SIGNATURE]
        if present != [*expected, _MANIFEST]:  # a zip can have two members of one name
            raise BadZipFile(_MANIFEST)
        for table in self.manifest.tables:
            checksum = hashlib.sha256()
            with self.rows(table.name) as member:
                while piece := member.read(PIECE_BYTES):
                    checksum.update(piece)
            if checksum.hexdigest() != table.sha256:
                raise BadZipFile(table.name)
        self.objects.check(self.manifest.objects)

    def _read_bounded(self, member: str, limit: int) -> bytes:
        if self._archive.getinfo(member).file_size > limit:
            raise damaged_error(self._path)
        return self._archive.read(member)

    def _verify(self, manifest: bytes, keys: BackupKeys) -> None:
        signature = None
        if _SIGNATURE in self._archive.namelist():
            signature = self._read_bounded(_SIGNATURE, _MAX_SIGNATURE_BYTES)
        try:
            keys.verify(manifest, signature, self._path)
        except UnverifiedBackup as error:
            self.unverified = error

    def _read_manifest(self, keys: BackupKeys) -> Manifest:
        text = self._read_bounded(_MANIFEST, _MAX_MANIFEST_BYTES)
        self._verify(text, keys)
        try:
            kind = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("format")
            if kind is None or msgspec.json.decode(kind, type=int) != FORMAT:
                raise _unknown_format_error(self._path)
            return msgspec.json.decode(text, type=Manifest)
        except msgspec.DecodeError as error:
            raise damaged_error(self._path) from error


@contextlib.contextmanager
def write_archive(path: Path, keys: BackupKeys) -> Iterator[Writer]:
    """Create the file, readable by this user only. Before it is called `path` it is on the disk."""
    if path.exists():
        raise Conflict(
            f"The file {path} already exists.", hint="Pass another name, or move the file away."
        )
    fresh = path.with_name(f"{path.name}.unfinished-{os.getpid()}")
    try:
        with _private(fresh) as file:
            with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=3) as archive:
                yield Writer(archive, keys)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        flush_to_disk(path.parent)
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
def read_archive(path: Path, keys: BackupKeys) -> Iterator[Reader]:
    try:
        with ZipFile(path) as archive:
            yield Reader(archive, path, keys)
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
        f"{path} is not a Howdah backup, or it was damaged or changed.",
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
