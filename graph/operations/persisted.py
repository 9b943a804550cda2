"""Automatic persisted queries: a document that was sent once may be asked for by its SHA-256.

As Apollo's protocol has it: who asks for one that is not kept is told so, and sends its text along
with the hash. Each process keeps its own, so that may happen again at any time.
"""

import re
from collections import OrderedDict
from hashlib import sha256
from typing import ClassVar

from db.errors import BadInput, HowdahError
from graph.operations.plans import Refused
from graph.operations.request import GraphQLRequest

EXTENSION = "persistedQuery"
KEPT_CHARACTERS = 4_000_000

_HASH = re.compile(r"[0-9a-f]{64}")


class PersistedQueryNotFound(HowdahError):
    """The document is not kept here. Clients know this by its message, letter for letter."""

    code: ClassVar[str] = "PERSISTED_QUERY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(
            "PersistedQueryNotFound", hint="Send the document along with its hash, once."
        )


class PersistedDocuments:
    """Texts by their hashes; those used last are kept. Only what could be prepared is."""

    def __init__(self, *, characters: int = KEPT_CHARACTERS) -> None:
        self._room = characters
        self._texts: OrderedDict[str, str] = OrderedDict()

    @staticmethod
    def hash_of(request: GraphQLRequest) -> str | None:
        """The hash that a request names, if any.

        Raises:
            Refused: it is not as it should be.
        """
        extensions = request.extensions
        if extensions is None or EXTENSION not in extensions:
            return None
        match extensions[EXTENSION]:
            case {"version": 1, "sha256Hash": str(wanted)} if _HASH.fullmatch(wanted):
                return wanted
        raise Refused(
            BadInput(
                f"The extension {EXTENSION} is not as it should be.",
                hint='Send {"version": 1, "sha256Hash": "<64 small hex digits>"}.',
            )
        )

    def text_of(self, request: GraphQLRequest, wanted: str) -> str:
        """The document of a request that names its hash.

        Raises:
            Refused: it is not kept, or another one came along.
        """
        if not request.query:
            return self._kept(wanted)
        if sha256(request.query.encode(errors="surrogatepass")).hexdigest() != wanted:
            raise Refused(
                BadInput(
                    "The hash of the persisted query is not that of the document.",
                    hint="Send the SHA-256 of the document's UTF-8 text, in small hex digits.",
                )
            )
        return request.query

    def keep(self, key: str, text: str) -> None:
        """What could be prepared."""
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
