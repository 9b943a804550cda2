"""Finds the document of a request: its text, a persisted one, or one that the operator lists."""

from db.errors import BadInput, Forbidden, NotFound
from graph.operations.listed_documents import ListedDocuments, sha256_id
from graph.operations.persisted_documents import PersistedDocuments
from graph.operations.plans import Refused
from graph.operations.request import GraphQLRequest

_SHOWN_CHARACTERS = 100


class Documents:
    """The documents that clients may run: any, or only those that the operator lists."""

    def __init__(self, listed: ListedDocuments | None = None, *, only_listed: bool = False) -> None:
        self._listed = listed
        self._only_listed = only_listed
        self._persisted = PersistedDocuments()

    def find(self, request: GraphQLRequest) -> tuple[str, str | None]:
        """The text of a document, and the hash under which to keep it once it is known to be valid.

        Raises:
            Refused: it is missing, unknown, or not listed on a server that runs only those.
        """
        if request.document_id is None and request.extensions is None and not self._only_listed:
            return _text(request), None  # nearly every request
        wanted = self._persisted.hash_of(request.extensions) if request.extensions else None
        document_id = request.document_id or (None if wanted is None else f"sha256:{wanted}")
        if document_id is None:
            return self._allowed(_text(request)), None
        listed = None if self._listed is None else self._listed.find(document_id)
        if listed is not None:
            return _same(request.query, listed), None
        if self._only_listed or (request.document_id and not request.query):
            raise Refused(_not_listed(document_id))
        if wanted is None:
            return _text(request), None
        return self._persisted.text_of(request, wanted), wanted

    def keep(self, key: str, text: str) -> None:
        """Remember a valid document under the hash that its client sent with it."""
        self._persisted.keep(key, text)

    def _allowed(self, text: str) -> str:
        """A text without an ID runs on a server for listed documents if it equals one of them."""
        if not self._only_listed or (self._listed and self._listed.find(sha256_id(text))):
            return text
        raise Refused(
            Forbidden(
                "This server runs only documents that its operator has listed, and this is none "
                "of them.",
                hint="Send the `documentId` of a listed document, or add this document to "
                "HOWDAH_DOCUMENTS_PATH.",
            )
        )


def _text(request: GraphQLRequest) -> str:
    if request.query is not None:
        return request.query
    raise Refused(
        BadInput(
            "The request has no `query`.",
            hint='Send {"query": "...", "variables": {...}}, or the `documentId` of a listed '
            "document.",
        )
    )


def _same(sent: str | None, listed: str) -> str:
    if not sent or sent == listed:
        return listed
    raise Refused(
        BadInput(
            "`documentId` and `query` are different documents.",
            hint="Send only one of them.",
        )
    )


def _not_listed(document_id: str) -> NotFound:
    return NotFound(
        f"No document with the ID {document_id[:_SHOWN_CHARACTERS]} is listed on this server.",
        hint="Send the text as `query` if the server runs any document. Otherwise add the document "
        "to HOWDAH_DOCUMENTS_PATH before its client is published.",
    )
