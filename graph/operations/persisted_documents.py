"""Automatic persisted queries.

A client may send the SHA-256 of a document instead of its text. The protocol is Apollo's: if a
document is unknown, the client sends its text with the hash. Each process has its own store, so a
client must be able to send the text at any time. `documents` has the documents that the operator
lists.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, ClassVar

from db.errors import BadInput, HowdahError
from graph.operations.plans import Refused
from graph.operations.request import GraphQLRequest

EXTENSION = "persistedQuery"
KEPT_CHARACTERS = 4_000_000

_HASH = re.compile(r"[0-9a-f]{64}")


class PersistedQueryNotFound(HowdahError):
    """The hash is unknown. Clients recognise the error by its exact message."""

    code: ClassVar[str] = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("PersistedQueryNotFound", hint="Send the document together with its hash.")


class PersistedDocuments:
    """Documents by hash, evicted least recently used. Only valid documents are stored."""

    def __init__(self, *, characters: int = KEPT_CHARACTERS) -> None:
        self._room = characters
        self._texts: OrderedDict[str, str] = OrderedDict()

    @staticmethod
    def hash_of(extensions: Mapping[str, Any]) -> str | None:
        """The hash that the extensions of a request name, if any.

        Raises:
            Refused: the extension is malformed.
        """
        if EXTENSION not in extensions:
            return None
        match extensions[EXTENSION]:
            case {"version": 1, "sha256Hash": str(wanted)} if _HASH.fullmatch(wanted):
                return wanted
        raise Refused(
            BadInput(
                f"The extension {EXTENSION} is malformed.",
                hint='Send {"version": 1, "sha256Hash": "<64 lowercase hex digits>"}.',
            )
        )

    def text_of(self, request: GraphQLRequest, wanted: str) -> str:
        """The document of a request that names its hash.

        Raises:
            Refused: the hash is unknown, or does not match the document.
        """
        if not request.query:
            return self._kept(wanted)
        if sha256(request.query.encode(errors="surrogatepass")).hexdigest() != wanted:
            raise Refused(
                BadInput(
                    "The hash of the persisted query does not match the document.",
                    hint="Send the SHA-256 of the document's UTF-8 text as lowercase hex digits.",
                )
            )
        return request.query

    def keep(self, key: str, text: str) -> None:
        """Store a document that was prepared successfully."""
        if key not in self._texts:
            self._texts[key] = text
            self._room -= len(text)
        self._texts.move_to_end(key)
        while self._room < 0:
            self._room += len(self._texts.popitem(last=False)[1])

    def _kept(self, wanted: str) -> str:
        text = self._texts.get(wanted)
        if text is None:
            raise Refused(PersistedQueryNotFound())
        self._texts.move_to_end(wanted)
        return text
