"""Candidates that the statement itself gives: columns, aliases, WITH queries, labels, keywords."""

from collections.abc import Callable, Iterator

from db.workbench.catalogue.snapshot import SnapshotType
from db.workbench.completion.candidates import Candidate
from db.workbench.completion.catalogue_index import CatalogueIndex
from db.workbench.completion.expectations import grammar
from db.workbench.completion.expectations.expected import Expected, Offer
from db.workbench.completion.names import fold, match_kind
from db.workbench.completion.results import CompletionKind
from db.workbench.completion.statement.columns import Column
from db.workbench.completion.statement.queries import Source
from db.workbench.completion.statement.scopes import Scope
from db.workbench.sql.quoting import quote_literal


class ScopeCandidates:
    """`typed` is what the names are compared with, in lower case."""

    def __init__(
        self,
        index: CatalogueIndex,
        scope: Scope,
        expected: Expected,
        typed: str,
        quote: Callable[[str], str],
    ) -> None:
        self._index = index
        self._quote = quote
        self._scope = scope
        self._expected = expected
        self._typed = typed
        self._readers: dict[Offer, Callable[[int], Iterator[Candidate]]] = {
            Offer.COLUMNS: self._columns,
            Offer.TARGET_COLUMNS: self._target_columns,
            Offer.COMMON_COLUMNS: self._common_columns,
            Offer.OUTPUT_COLUMNS: self._output_columns,
            Offer.ALIASES: self._aliases,
            Offer.COMMON_TABLES: self._common_tables,
            Offer.SETTINGS: self._settings,
            Offer.TYPES: self._type_words,
        }

    def of(self, offer: Offer, group: int) -> Iterator[Candidate]:
        if (read := self._readers.get(offer)) is not None:
            yield from read(group)

    def qualified(self, path: tuple[str, ...]) -> Iterator[Candidate]:
        """The columns of the source that a dotted name before the cursor means."""
        source = self._scope.source_named(path)
        if source is None:  # a table in a command without a query, such as COMMENT ON COLUMN
            source = Source(path) if not self._scope.levels else None
        for place, column in enumerate(self._scope.columns(source) if source else ()):
            yield from self._column(column, (0, place), "")

    def labels(self) -> Iterator[Candidate]:
        """The labels of the enum of the column that is compared."""
        compared = self._expected.compared
        if not compared:
            return
        target = self._expected.target
        if target is not None:
            kind = self._target_type(target, compared[-1])
        else:
            kind = self._scope.column_type(compared)
        yield from self.labels_of(kind)

    def labels_of(self, type_name: str) -> Iterator[Candidate]:
        for found in self._types_named(type_name):
            for place, label in enumerate(found.labels):
                insert = quote_literal(label)
                kind = CompletionKind.ENUM_LABEL
                yield from self._match(kind, label, insert, (-1, place), found.name)

    def keywords(self, phrases: tuple[str, ...], group: int, *, upper: bool) -> Iterator[Candidate]:
        """The phrases whose words the version of the server knows."""
        known = self._index.keywords | grammar.NO_KEYWORDS
        for place, phrase in enumerate(phrases):
            words = {word for word in phrase.split() if word.isupper()}
            if words <= known:
                text = phrase if upper or not words else phrase.lower()
                yield from self._match(CompletionKind.KEYWORD, text, text, (group, place))

    def _match(
        self,
        kind: CompletionKind,
        label: str,
        insert: str,
        rank: tuple[int, ...],
        detail: str | None = None,
        name: str = "",
    ) -> Iterator[Candidate]:
        match = match_kind(fold(name or label), self._typed)
        if match is not None:
            yield Candidate(kind, label, insert, match, rank, detail)

    def _column(
        self, column: Column, rank: tuple[int, ...], owner: str, qualifier: str = ""
    ) -> Iterator[Candidate]:
        insert, label = self._quote(column.name), column.name
        if qualifier:
            insert, label = f"{self._quote(qualifier)}.{insert}", f"{qualifier}.{label}"
        detail = ", ".join(filter(None, (column.type, owner))) or None
        yield from self._match(CompletionKind.COLUMN, label, insert, rank, detail, column.name)

    def _columns(self, group: int) -> Iterator[Candidate]:
        """A name that several sources have is offered once for each, qualified."""
        sources = self._scope.sources()
        counts: dict[str, int] = {}
        for _, source in sources:
            for name in {column.name for column in self._scope.columns(source)}:
                counts[name] = counts.get(name, 0) + 1
        for order, (distance, source) in enumerate(sources):
            for place, column in enumerate(self._scope.columns(source)):
                qualifier = source.label if counts[column.name] > 1 else ""
                rank = (group, distance, order, place)
                yield from self._column(column, rank, source.label, qualifier)

    def _target_columns(self, group: int) -> Iterator[Candidate]:
        target = self._expected.target
        for place, column in enumerate(self._scope.columns(target) if target else ()):
            if column.name not in self._expected.taken:
                yield from self._column(column, (group, place), target.label if target else "")

    def _common_columns(self, group: int) -> Iterator[Candidate]:
        sources = [source for _, source in self._scope.sources()]
        earlier = {one.name for source in sources[:-1] for one in self._scope.columns(source)}
        for place, column in enumerate(self._scope.columns(sources[-1]) if earlier else ()):
            if column.name in earlier and column.name not in self._expected.taken:
                yield from self._column(column, (group, place), "")

    def _output_columns(self, group: int) -> Iterator[Candidate]:
        sources = self._scope.sources()
        known = {one.name for _, source in sources for one in self._scope.columns(source)}
        for place, column in enumerate(self._scope.output_columns()):
            if column.name not in known:
                known.add(column.name)
                yield from self._column(column, (group, place), "")

    def _aliases(self, group: int) -> Iterator[Candidate]:
        for order, (distance, source) in enumerate(self._scope.sources()):
            if source.label:
                detail = ".".join(source.path) if source.alias and source.path else None
                rank = (group, distance, order)
                insert = self._quote(source.label)
                yield from self._match(CompletionKind.ALIAS, source.label, insert, rank, detail)

    def _common_tables(self, group: int) -> Iterator[Candidate]:
        for order, (distance, table) in enumerate(self._scope.common_tables()):
            rank, insert = (group, distance, order), self._quote(table.name)
            yield from self._match(CompletionKind.COMMON_TABLE, table.name, insert, rank, "WITH")

    def _settings(self, group: int) -> Iterator[Candidate]:
        for place, name in enumerate(grammar.SETTINGS):
            yield from self._match(CompletionKind.SETTING, name, name, (group, place))

    def _type_words(self, group: int) -> Iterator[Candidate]:
        """The names of types in the SQL standard, which are no names in the catalogue."""
        for place, name in enumerate(grammar.TYPES):
            yield from self._match(CompletionKind.TYPE, name, name, (group, 0, place))

    def _target_type(self, target: Source, name: str) -> str:
        columns = self._scope.columns(target)
        if name.startswith("#"):  # the place of a value in a row without a list of columns
            place = int(name[1:])
            return columns[place].type if place < len(columns) else ""
        return next((each.type for each in columns if each.name == name), "")

    def _types_named(self, text: str) -> list[SnapshotType]:
        path = tuple(part.strip('"') for part in text.split("."))
        return self._index.types.lookup(path) if text else []
