"""Objects in the archive: `objects`, the bytes of all, and `objects.jsonl`, which are whose.

One member holds the bytes of all of them: a zip keeps what it knows of each member in memory.
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
_LONGEST_LINE = 65_536

Key = Annotated[str, msgspec.Meta(pattern=r"^files/[0-9a-f]{32}/[0-9a-f]{32}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class ObjectEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One object: what it must be, and from where on its bytes stand in `objects`."""

    key: Key
    size: Count
    sha256: str
    start: Count
    headers: dict[str, str]


class ObjectsManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Which objects the file holds, and how many it does not that its rows name."""

    count: Count
    bytes: Count
    sha256: str
    """Of the list, which has the checksum of each."""
    deleted: Count
    lost: Count

    @property
    def named(self) -> int:
        """How many the rows name."""
        return self.count + self.deleted + self.lost


class ObjectsWriter:
    """Takes the bytes of one object after the other; what is never listed counts for nothing."""

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
        line = msgspec.json.encode(entry) + b"\n"
        self._listing.write(line)
        self._list_checksum.update(line)
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
def writing_objects(archive: ZipFile) -> Iterator[ObjectsWriter]:
    """Stored as they are: most files are packed already."""
    with tempfile.TemporaryFile() as listing:
        with archive.open(ZipInfo(BYTES), "w", force_zip64=True) as member:
            yield ObjectsWriter(member, listing)
        listing.seek(0)
        with archive.open(LIST, "w", force_zip64=True) as member:
            shutil.copyfileobj(listing, member)


class ObjectsReader:
    """Reads the objects of one archive; BadZipFile when they are not what it says."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive

    def check(self, said: ObjectsManifest) -> None:
        """Reads all of them once, so that what is damaged is known before anything is changed."""
        list_checksum = hashlib.sha256()
        count = size = 0
        with self.opened() as member:
            for entry in self.entries():
                list_checksum.update(msgspec.json.encode(entry) + b"\n")
                count += 1
                size += entry.size
                checksum = hashlib.sha256()
                for piece in pieces(member, entry):
                    checksum.update(piece)
                if checksum.hexdigest() != entry.sha256:
                    raise BadZipFile(entry.key)
        if (count, size, list_checksum.hexdigest()) != (said.count, said.bytes, said.sha256):
            raise BadZipFile(LIST)

    def opened(self) -> contextlib.AbstractContextManager[IO[bytes]]:
        return self._archive.open(BYTES)

    def entries(self) -> Iterator[ObjectEntry]:
        with self._archive.open(LIST) as listing:
            while line := listing.readline(_LONGEST_LINE):
                try:
                    yield msgspec.json.decode(line, type=ObjectEntry)
                except msgspec.DecodeError as error:
                    raise BadZipFile(LIST) from error


def pieces(member: IO[bytes], entry: ObjectEntry) -> Iterator[bytes]:
    """Its bytes; fewer than its size where the member ends before."""
    member.seek(entry.start)
    left = entry.size
    while left and (piece := member.read(min(PIECE_BYTES, left))):
        left -= len(piece)
        yield piece
