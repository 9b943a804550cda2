"""Objects in the archive: `objects` with the bytes of all, and `objects.jsonl` with their keys.

All bytes are in one member, because the directory of a zip is kept in memory.
"""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Annotated
from zipfile import BadZipFile, ZipFile, ZipInfo

import msgspec

PIECE_BYTES = 1024 * 1024
BYTES, LIST = "objects", "objects.jsonl"
_MAX_LINE_BYTES = 65_536

Key = Annotated[str, msgspec.Meta(pattern=r"^files/[0-9a-f]{32}/[0-9a-f]{32}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class ObjectEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One object. Its bytes begin at `start` in the member `objects`."""

    key: Key
    size: Count
    sha256: str
    start: Count
    headers: dict[str, str]

    @property
    def line(self) -> bytes:
        """The entry in the list, as its checksum covers it."""
        return msgspec.json.encode(self) + b"\n"


class ObjectsManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of the objects in the file, and of those that the rows name but the file lacks."""

    count: Count
    bytes: Count
    sha256: str
    """Checksum of the list, which contains the checksum of each object."""
    deleted: Count
    lost: Count

    @property
    def named(self) -> int:
        """Number of objects that the rows name."""
        return self.count + self.deleted + self.lost


class ObjectsWriter:
    """Writes the bytes of one object after the other. Bytes without a list entry are ignored."""

    def __init__(self, member: IO[bytes], listing: IO[bytes]) -> None:
        self.position = 0
        self._member = member
        self._listing = listing
        self._list_checksum = hashlib.sha256()
        self._count = 0
        self._bytes = 0

    def write(self, piece: bytes) -> None:
        self._member.write(piece)
        self.position += len(piece)

    def list(self, entry: ObjectEntry) -> None:
        self._listing.write(entry.line)
        self._list_checksum.update(entry.line)
        self._count += 1
        self._bytes += entry.size

    def manifest(self, *, deleted: int, lost: int) -> ObjectsManifest:
        return ObjectsManifest(
            count=self._count,
            bytes=self._bytes,
            sha256=self._list_checksum.hexdigest(),
            deleted=deleted,
            lost=lost,
        )


@contextlib.contextmanager
def write_objects(archive: ZipFile) -> Iterator[ObjectsWriter]:
    """Write objects uncompressed, because most files are compressed already."""
    with tempfile.TemporaryFile() as listing:
        with archive.open(ZipInfo(BYTES), "w", force_zip64=True) as member:
            yield ObjectsWriter(member, listing)
        listing.seek(0)
        with archive.open(LIST, "w", force_zip64=True) as member:
            shutil.copyfileobj(listing, member)


class ObjectsReader:
    """Reads the objects of one archive. Raises BadZipFile if they do not match the list."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive

    def check(self, manifest: ObjectsManifest) -> None:
        """Read all objects, so that damage is found before anything is changed."""
        list_checksum = hashlib.sha256()
        count = size = 0
        with self.open() as member:
            for entry in self.entries():
                list_checksum.update(entry.line)
                count += 1
                size += entry.size
                checksum = hashlib.sha256()
                for piece in pieces(member, entry):
                    checksum.update(piece)
                if checksum.hexdigest() != entry.sha256:
                    raise BadZipFile(entry.key)
        found = (count, size, list_checksum.hexdigest())
        if found != (manifest.count, manifest.bytes, manifest.sha256):
            raise BadZipFile(LIST)

    def open(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(BYTES)

    def entries(self) -> Iterator[ObjectEntry]:
        with self._archive.open(LIST) as listing:
            while line := listing.readline(_MAX_LINE_BYTES):
                try:
                    yield msgspec.json.decode(line, type=ObjectEntry)
                except msgspec.DecodeError as error:
                    raise BadZipFile(LIST) from error


def pieces(member: IO[bytes], entry: ObjectEntry) -> Iterator[bytes]:
    """The bytes of an object in pieces; fewer than its size if the member ends early."""
    member.seek(entry.start)
    left = entry.size
    while left and (piece := member.read(min(PIECE_BYTES, left))):
        left -= len(piece)
        yield piece
