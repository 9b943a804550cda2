"""The object store: a folder, S3, Google Cloud Storage or Azure, through obstore.

Keys consist of IDs and never of user input. Writes are atomic: no reader sees a partial object.
"""

import asyncio
import contextlib
import functools
import logging
import os
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from db.concurrency.daemon_thread import in_daemon_thread
from db.concurrency.postponed_errors import postpone_errors
from db.distributions import Distributions
from db.errors import BadInput, HowdahError, NotFound, Unavailable
from db.objects.folders import (
    FolderWatch,
    flush_to_disk,
    folder_error,
    folder_of,
    has_folder_id,
    in_folder,
    prune,
    read_folder_id,
)
from db.objects.stoppable_chunks import StoppableChunks

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

log = logging.getLogger(__name__)

MIB = 1024 * 1024
READ_BYTES = MIB
MAX_PARTS = 9_000  # S3 takes 10,000
DELETE_BATCH = 1_000
PROBE_S = 1.0
PROBE_TTL_S = 5.0
FLUSHES_AT_ONCE = 4
MIN_FREE_BYTES = 64 * MIB
"""With less space on the disk of a folder, files cannot be stored reliably."""
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
_SCHEMES = {"file": "file", "s3": "s3", "s3a": "s3", "gs": "gs", "az": "az", "memory": "memory"}


class ObjectInfo(NamedTuple):
    """An object in a listing."""

    key: str
    modified_at: datetime


class ObjectFigures:
    """What this process has requested from the store."""

    def __init__(self) -> None:
        self.seconds: Distributions[str] = Distributions()
        """Durations by request."""
        self.errors: Counter[tuple[str, str]] = Counter()
        """Failures by request and code of the error."""
        self.written = self.read = 0
        """Bytes."""


class ObjectStore:
    """Writes, reads, lists and deletes objects of any size in bounded memory."""

    def __init__(
        self,
        open_store: Callable[[], "Store"],
        kind: str,
        *,
        place: str | None = None,
        folder: Path | None = None,
    ) -> None:
        """`place` is where the objects are, unless it is a folder with an identity, or memory."""
        self.kind = kind
        self._place = place
        self._open_store = open_store
        self._folder = folder
        self._watch = None if folder is None else FolderWatch(folder)
        self._fault: str | None = None
        self._probe_expires_at = 0.0
        self._probing = asyncio.Lock()
        self.may_delete: Callable[[], Awaitable[bool]] | None = None
        """Asked before a deletion, if it is set. While it returns False, objects are kept."""
        self.figures = ObjectFigures()

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        *,
        size: int,
        headers: Mapping[str, str] | None = None,
        is_durable: bool = True,
    ) -> None:
        """Writes an object from a stream; keeps nothing if `chunks` raises or on cancellation.

        `size` is the number of bytes or an upper bound of it, which determines the size of parts.
        `headers` (Content-Type ...) are served with signed links, if the store supports them.
        With `is_durable` the object survives a power failure, also in a folder.
        """
        import obstore

        if self._watch is not None:
            await self._watch.require()  # obstore would recreate a missing folder silently
        source = StoppableChunks(chunks)
        with self._request("put"):
            await source.send_by(
                obstore.put_async(
                    self._store,
                    key,
                    source,
                    attributes=cast("Any", headers) if self._has_links else None,
                    chunk_size=self._part_bytes(size),
                    max_concurrency=1,
                )
            )
            if is_durable and self._folder is not None:
                await self._flush(self._folder, key)
        self.figures.written += source.passed

    async def read(self, key: str, *, start: int, end: int) -> AsyncGenerator[bytes]:
        """Yields the bytes from `start` to `end` (exclusive) in pieces."""
        import obstore

        for here in range(start, end, READ_BYTES):
            with self._request("get"):
                piece = await obstore.get_range_async(
                    self._store, key, start=here, end=min(here + READ_BYTES, end)
                )
            self.figures.read += len(piece)
            yield bytes(piece)

    async def put_bytes(self, key: str, content: bytes) -> None:
        """Writes a small object, in one piece: each piece costs a switch to a store thread.

        A power failure may lose it: results expire, and their statements can be run again.
        """

        async def pieces() -> AsyncIterator[bytes]:
            yield content

        await self.put(key, pieces(), size=len(content), is_durable=False)

    async def read_bytes(self, key: str, *, start: int, end: int) -> bytes:
        """Returns the bytes from `start` to `end` (exclusive)."""
        pieces = self.read(key, start=start, end=end)
        async with contextlib.aclosing(pieces):
            return b"".join([piece async for piece in pieces])

    async def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects, unless `may_delete` forbids it; missing keys are ignored.

        Raises:
            Unavailable: some could not be deleted. In a folder, all others were.
        """
        import obstore

        if keys and self.may_delete is not None and not await self.may_delete():
            return
        for start in range(0, len(keys), DELETE_BATCH):
            with self._request("delete"):
                await self._delete(obstore, keys[start : start + DELETE_BATCH])

    async def list(self, prefix: str) -> AsyncIterator[Sequence[ObjectInfo]]:
        """Yields the objects below the folder `prefix` in batches."""
        with self._request("list"):  # with the time that the caller takes for the batches
            async for batch in self._store.list(prefix, chunk_size=1_000):
                yield [ObjectInfo(entry["path"], entry["last_modified"]) for entry in batch]

    async def link(self, key: str, *, expires_in: timedelta) -> str | None:
        """Returns a signed URL of the store, or None if the store has none."""
        if not self._has_links:
            return None
        import obstore

        with _translate_errors():
            return await obstore.sign_async(self._store, "GET", key, expires_in)

    async def ping(self) -> None:
        """Raises Unavailable if the store does not respond."""
        await self._look()

    async def _look(self) -> int | None:
        """Returns the free bytes of the disk of a folder."""
        if self._folder is None or self._watch is None:
            with self._request("ping"):
                await anext(aiter(self._store.list("nothing/here")), None)
            return None
        state = await self._watch.require()  # without obstore: the first answer of a server
        if state.error is not None:
            raise folder_error(self._folder, state.error)
        return state.free_bytes

    @property
    def is_new(self) -> bool:
        """Whether it is a folder that the first start creates."""
        return self._folder is not None and not self._folder.exists()

    async def answers(self) -> bool:
        return await self.find_fault() is None

    async def find_fault(self) -> str | None:
        """Why files cannot be stored. Kept for PROBE_TTL_S: clients can ask for it often."""
        async with self._probing:
            if time.monotonic() >= self._probe_expires_at:
                self._fault = await self._probe()
                self._probe_expires_at = time.monotonic() + PROBE_TTL_S
        return self._fault

    async def identify(self) -> str | None:
        """Text that is the same for all processes that use the same store; None for memory.

        Raises:
            Unavailable: the folder cannot be written.
        """
        if self._folder is None or self._place is not None:
            return self._place
        return await in_folder(read_folder_id, self._folder)

    async def _probe(self) -> str | None:
        try:
            async with asyncio.timeout(PROBE_S):
                free_bytes = await self._look()
        except (HowdahError, TimeoutError):
            return "The object store does not respond."
        if free_bytes is not None and free_bytes < MIN_FREE_BYTES:
            return "The disk of the object store is full."
        return None

    async def prune(self, *, older_than: timedelta) -> int:
        """Removes partial files of killed processes from the folder; returns their number.

        Cloud stores need a lifecycle rule instead: docs/storage.md.
        """
        if self._folder is None:
            return 0
        before = time.time() - older_than.total_seconds()
        return await in_daemon_thread(
            functools.partial(prune, self._folder, before), name="objects: prune"
        )

    @contextlib.contextmanager
    def _request(self, name: str) -> Iterator[None]:
        """Translates errors of the store, and counts the request."""
        began = time.perf_counter()
        try:
            with _translate_errors():
                yield
        except HowdahError as error:
            self.figures.errors[name, error.code] += 1
            raise
        finally:
            self.figures.seconds[name].add(time.perf_counter() - began)

    @functools.cached_property
    def _store(self) -> Any:
        return self._open_store()

    async def _flush(self, folder: Path, key: str) -> None:
        """Obstore leaves the bytes to the operating system."""
        flush = functools.partial(flush_to_disk, folder / key, up_to=folder)
        await asyncio.get_running_loop().run_in_executor(self._flushers, flush)

    @functools.cached_property
    def _flushers(self) -> ThreadPoolExecutor:
        """Threads of their own: those of a folder that hangs are missed by nothing else."""
        return ThreadPoolExecutor(FLUSHES_AT_ONCE, thread_name_prefix="objects: flush")

    @property
    def _has_links(self) -> bool:
        return self.kind in {"s3", "gs", "az"}

    def _part_bytes(self, size: int) -> int:
        smallest = 5 * MIB if self._has_links else MIB
        return max(smallest, -(-size // MAX_PARTS))

    async def _delete(self, obstore: Any, keys: Sequence[str]) -> None:
        if self._has_links:
            with contextlib.suppress(FileNotFoundError):
                await obstore.delete_async(self._store, keys)
                return
        # Google and Azure fail at the first key that is missing, and may leave others. If they
        # fail otherwise, the next keys would fail too, each after all retries.
        postponed = () if self._folder is None else (Exception,)
        with postpone_errors(*postponed) as step:
            for key in keys:
                with step(), contextlib.suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, key)


def open_objects(url: str | None, *, data_dir: Path, create: bool = True) -> ObjectStore:
    """Opens the store at `HOWDAH_OBJECTS_URL`; defaults to a folder in the data folder.

    Without `create`, a folder that is missing stays so, and is another one than that of any server.
    """
    if url is None or url.startswith("file:"):
        return _open_folder(data_dir / "objects" if url is None else folder_of(url), create=create)
    kind = _SCHEMES.get(url.partition(":")[0])
    if kind is None:
        raise _url_error("its scheme is not file, s3, gs or az")
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    try:
        store = from_url(url, **_client_options(kind))
    except (BaseError, ValueError) as error:
        raise _url_error(str(error).partition("\n")[0]) from None
    return ObjectStore(lambda: store, kind, place=None if kind == "memory" else _place_of(url))


def _open_folder(folder: Path, *, create: bool) -> ObjectStore:
    """A folder needs no validation by obstore, which is imported on first use."""

    def open_store() -> "Store":
        from obstore.store import LocalStore

        return LocalStore(folder, automatic_cleanup=True)

    if not create and not has_folder_id(folder):
        return ObjectStore(open_store, "file", folder=folder, place="a new folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise folder_error(folder, error) from error
    return ObjectStore(open_store, "file", folder=folder)


def _client_options(kind: str) -> dict[str, Any]:
    """Timeouts and retries. The setting of the endpoint decides whether http is used."""
    if kind == "memory":
        return {}
    return {
        "client_options": {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=60),
        },
        "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
    }


def _place_of(url: str) -> str:
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), "")
    parts = urlsplit(url)
    return f"{parts.scheme[:2]} {parts.netloc} {parts.path.strip('/')} {endpoint.rstrip('/')}"


def _url_error(reason: str) -> BadInput:
    return BadInput(
        f"HOWDAH_OBJECTS_URL cannot be used: {reason}.",
        hint="Set s3://bucket/prefix, gs://bucket/prefix, az://account/container/prefix or "
        "file:///folder, and the credentials in the variables of the provider.",
    )


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    """Translates errors of the store; its own messages go to the log only."""
    from obstore.exceptions import BaseError

    try:
        yield
    except HowdahError:
        raise
    except FileNotFoundError as error:
        raise NotFound(
            "The content of this file no longer exists.",
            hint="Query the file again: it may have been deleted.",
        ) from error
    except (BaseError, OSError) as error:
        raise Unavailable(
            "The object store failed or did not respond.",
            hint="Retry later. The log has the error of the object store.",
            retry_after_s=5,
        ) from error
