"""The documents that the operator lists, by ID: a file or a folder that a client's build writes."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from graphql import GraphQLError, GraphQLSchema, GraphQLSyntaxError, parse, validate

from db.errors import BadInput

logger = logging.getLogger(__name__)

CHECKED_EVERY_S = 5.0
_APOLLO_MANIFEST = "apollo-persisted-query-manifest"
_DOCUMENT_SUFFIXES = (".graphql", ".gql")

_Version: TypeAlias = tuple[tuple[str, int, int], ...]
"""Name, time of the last change and size of each file."""


class _Operation(msgspec.Struct):
    id: str
    body: str


class _Manifest(msgspec.Struct):
    format: str
    operations: list[_Operation]


_decode_texts = msgspec.json.Decoder(dict[str, str]).decode
_decode_manifest = msgspec.json.Decoder(_Manifest).decode


def sha256_id(text: str) -> str:
    """The ID of a document in the appendix of GraphQL over HTTP about persisted documents."""
    return "sha256:" + sha256(text.encode(errors="surrogatepass")).hexdigest()


class ListedDocuments:
    """Documents of a file or folder. A changed list is read again; a faulty one is not used.

    JSON files map IDs to documents, as GraphQL Code Generator and Relay write them, or are Apollo's
    manifests. In a folder, each `.graphql` file is one document, whose ID is the name of the file.
    Every document also has the ID `sha256:<hash>`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_id: dict[str, str] = {}
        self._version: _Version = ()

    @property
    def count(self) -> int:
        """The number of different documents."""
        return len(set(self._by_id.values()))

    def find(self, document_id: str) -> str | None:
        return self._by_id.get(document_id)

    def load(self) -> None:
        """Read all files.

        Raises:
            BadInput: a file cannot be read, or is no list of documents.
        """
        files = self._files()
        self._version = self._version_of(files)
        by_id: dict[str, str] = {}
        for path in files:
            for document_id, text in _documents(path):
                for name in (document_id, sha256_id(text)):
                    if by_id.setdefault(name, text) != text:
                        raise BadInput(
                            f"{path} lists a second document with the ID {name}.",
                            hint="Give each document its own ID, such as its SHA-256.",
                        )
        if not by_id:
            raise BadInput(
                f"HOWDAH_DOCUMENTS_PATH is {self._path}, which lists no document.",
                hint='Name a JSON file of {"id": "document"}, or a folder with such files or '
                "`.graphql` files.",
            )
        self._by_id = by_id

    def faults(self, schema: GraphQLSchema) -> Iterator[tuple[str, str]]:
        """The documents that are not valid, each by one of its IDs, with the reason."""
        ids: dict[str, str] = {}
        for document_id, text in self._by_id.items():
            ids.setdefault(text, document_id)  # the one of the file, which comes first
        for text, document_id in ids.items():
            errors: list[GraphQLError]
            try:
                errors = validate(schema, parse(text), max_errors=1)
            except GraphQLSyntaxError as error:
                errors = [error]
            if errors:
                yield document_id, errors[0].message

    async def watch(self) -> None:
        """Read the files again when they change, until cancelled."""
        while True:
            await asyncio.sleep(CHECKED_EVERY_S)
            await asyncio.to_thread(self.reload_if_changed)

    def reload_if_changed(self) -> None:
        try:
            if self._version_of(self._files()) == self._version:
                return
            self.load()
        except BadInput as error:
            logger.error(  # noqa: TRY400 - the traceback would say nothing
                "The listed documents stay as they were: %s %s", error.message, error.hint
            )
        else:
            logger.info("Read %d listed documents from %s", self.count, self._path)

    def _files(self) -> list[Path]:
        try:
            if not self._path.is_dir():
                return [self._path]
            return sorted(path for path in self._path.rglob("*") if self._is_listed(path))
        except OSError as error:  # a folder was removed while it was searched
            raise _unreadable(self._path, error) from None

    def _is_listed(self, path: Path) -> bool:
        """Not in hidden folders, where Kubernetes keeps the versions of a mounted folder."""
        hidden = any(part.startswith(".") for part in path.relative_to(self._path).parts)
        return not hidden and path.suffix in {".json", *_DOCUMENT_SUFFIXES} and path.is_file()

    def _version_of(self, files: Sequence[Path]) -> _Version:
        try:
            found = [(str(path), path.stat()) for path in files]
        except OSError as error:
            raise _unreadable(self._path, error) from None
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found)


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    """The IDs and texts that one file lists."""
    try:
        content = path.read_bytes()
        if path.suffix in _DOCUMENT_SUFFIXES:
            yield path.stem, content.decode()
            return
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    for document_id, text in _decode(path, content).items():
        if document_id.startswith("sha256:") and document_id != sha256_id(text):
            raise BadInput(
                f"{path} lists a document as {document_id}, but that is not its hash.",
                hint="Let the build of the client write the file again.",
            )
        yield document_id, text


def _decode(path: Path, content: bytes) -> dict[str, str]:
    try:
        return _decode_texts(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        manifest = _decode_manifest(content)
        if manifest.format == _APOLLO_MANIFEST:
            return {operation.id: operation.body for operation in manifest.operations}
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    raise BadInput(
        f"{path} is no list of documents.",
        hint='Write JSON as GraphQL Code Generator or Relay does: {"id": "document", ...}.',
    )


def _unreadable(path: Path, error: Exception) -> BadInput:
    reason: Any = getattr(error, "strerror", None) or "it is not UTF-8"
    return BadInput(
        f"The documents at {path} cannot be read: {reason}.",
        hint="Set HOWDAH_DOCUMENTS_PATH to a file or folder that the server's account can read.",
    )
