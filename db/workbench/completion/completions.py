"""`complete`, which lists what can be written at a cursor."""

import heapq
from collections.abc import Iterator

from db.errors import BadInput, TooLarge
from db.workbench.completion.candidates import Candidate, CatalogueCandidates
from db.workbench.completion.catalogue_index import CatalogueIndex
from db.workbench.completion.expectations.commands import compiled_rules
from db.workbench.completion.expectations.expected import Offer
from db.workbench.completion.expectations.places import CursorPlace, place_of
from db.workbench.completion.names import fold
from db.workbench.completion.results import Completion, CompletionKind
from db.workbench.completion.scope_candidates import ScopeCandidates
from db.workbench.completion.statement.groups import nest
from db.workbench.completion.statement.parts import Cursor, Part, Statement, statement_at
from db.workbench.completion.statement.queries import dotted_name
from db.workbench.completion.statement.scopes import Scope
from db.workbench.sql.quoting import quote_name

MAX_TEXT_CHARS = 100_000
_CALLABLE = frozenset((CompletionKind.FUNCTION, CompletionKind.PROCEDURE))


def complete(index: CatalogueIndex, text: str, cursor: int, first: int) -> list[Completion]:
    """The best completions. Takes time in proportion to the length of the text.

    Raises:
        BadInput: The cursor is outside of the text.
        TooLarge: The text is too long.
    """
    _check(text, cursor)
    index.warm()
    compiled_rules()
    statement = statement_at(text, cursor)
    nested = nest(statement) if statement is not None else None
    if statement is None or nested is None:
        return []
    here, position = nested
    scope = Scope(index, here, position)
    place = place_of(here, position, scope)
    at = statement.cursor
    typed = _typed_name(at)
    quote = quote_name if at.quote == '"' else index.quote
    written = ScopeCandidates(index, scope, place.expected, typed, quote)
    if at.quote == "'":
        found = _labels(written, statement)
    else:
        stored = CatalogueCandidates(index, typed, first, quote)
        upper = None if at.quote else _is_upper(at.typed, statement.parts)
        found = _names(written, stored, place, upper=upper)
    best = heapq.nsmallest(first, _distinct(found), key=_order)
    is_called = text[at.end : at.end + 1] == "("
    return [_completion(each, at, is_called=is_called) for each in best]


def _check(text: str, cursor: int) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise TooLarge(
            f"`text` has more than {MAX_TEXT_CHARS} characters.",
            hint="Send only the statement at the cursor, and add its start to the offsets.",
            field="text",
        )
    if not 0 <= cursor <= len(text):
        raise BadInput(
            "`cursor` is outside of `text`.",
            hint="Pass the number of characters before the cursor; an emoji counts as 1.",
            field="cursor",
        )


def _typed_name(at: Cursor) -> str:
    body = at.typed[at.typed.find(at.quote) + 1 :] if at.quote else at.typed
    if at.quote and len(body) and body.endswith(at.quote):
        body = body[:-1]
    return fold(body.replace(at.quote * 2, at.quote) if at.quote else body)


def _names(
    written: ScopeCandidates, stored: CatalogueCandidates, place: CursorPlace, *, upper: bool | None
) -> Iterator[Candidate]:
    """`upper` is the case of keywords. It is None in a quoted name, where there are none."""
    expected = place.expected
    if place.path:
        takes_columns = not _ROWS_ONLY.intersection(expected.offers)
        columns = list(written.qualified(place.path)) if takes_columns else []
        yield from columns
        if not columns and len(place.path) == 1:
            for group, offer in enumerate(expected.offers):
                yield from stored.in_schema(offer, place.path[-1], group + 1)
        return
    if upper is not None:
        yield from written.labels()
        yield from written.keywords(expected.first_keywords, 0, upper=upper)
    for group, offer in enumerate(expected.offers):
        yield from written.of(offer, group + 1)
        yield from stored.of(offer, group + 1)
    if upper is not None:
        yield from written.keywords(expected.keywords, len(expected.offers) + 1, upper=upper)


_ROWS_ONLY = frozenset((Offer.ROW_FUNCTIONS, Offer.TYPES, Offer.COMMON_TABLES))


def _labels(written: ScopeCandidates, statement: Statement) -> Iterator[Candidate]:
    """In a string only the labels of an enum: of a compared column, or of `'...'::type`."""
    after = statement.parts[statement.cursor.part + 1 :][:8]
    if after and after[0].text == "::":
        path, _ = dotted_name(list(after), 1)
        return written.labels_of(".".join(path))
    return written.labels()


def _is_upper(typed: str, parts: list[Part]) -> bool:
    """Whether keywords are written in upper case: as what is typed, or as the statement is."""
    if any(letter.isalpha() for letter in typed):
        return not typed.islower()
    first = next((part.text for part in parts if part.kind == "word"), "")
    return not first.islower()


def _distinct(found: Iterator[Candidate]) -> Iterator[Candidate]:
    seen: set[tuple[str, str]] = set()
    for each in found:
        key = (each.kind, each.label)
        if key not in seen:
            seen.add(key)
            yield each


def _order(each: Candidate) -> tuple[int, tuple[int, ...], str]:
    return each.match, each.rank, each.label


def _completion(each: Candidate, at: Cursor, *, is_called: bool) -> Completion:
    insert = each.insert
    if is_called and each.kind in _CALLABLE:
        insert = insert.rstrip("()")
    return Completion(each.kind, each.label, insert, each.detail, at.start, at.end)
