"""What a cursor can refer to: the sources of its query and of those around it, with columns."""

import itertools
from dataclasses import dataclass, field

from db.workbench.completion.catalogue_index import CatalogueIndex
from db.workbench.completion.statement.columns import Column, function_columns
from db.workbench.completion.statement.groups import Element, Group
from db.workbench.completion.statement.queries import (
    CommonTable,
    Query,
    Source,
    dotted_name,
    is_cursor,
    query_start,
    read_query,
    split_list,
)

MAX_COLUMNS = 1_600
"""Of one source, as of one table in PostgreSQL."""
MAX_SCOPE_COLUMNS = 5_000
"""Of all sources that one completion looks at."""
MAX_TYPED_SOURCES = 50
"""Sources in which the type of a column without a qualifier is searched for."""
MAX_NESTING = 24
"""Queries in queries whose columns are followed."""
MAX_FOLLOWED_QUERIES = 500
"""In one completion."""

_NO_NAME = "?column?"


@dataclass(slots=True)
class Level:
    """A query around the cursor. The first of several is the innermost."""

    query: Query
    position: int
    """The index of the cursor, or of the group with it, among the parts of the query."""
    sources: list[Source] = field(default_factory=list)
    """Those whose columns can be used at the cursor."""


class Scope:
    """The levels around the cursor, and the columns of their sources."""

    def __init__(self, index: CatalogueIndex, here: Group, position: int) -> None:
        self._index = index
        self._followed = 0
        self._budget = MAX_SCOPE_COLUMNS
        self._columns: dict[int, list[Column]] = {}
        self._types_by_name: dict[int, dict[str, str]] = {}
        self._queries: dict[int, Query] = {}
        self.levels = self._levels_around(here, position)

    def common_tables(self) -> list[tuple[int, CommonTable]]:
        """Those that can be used at the cursor, with the distance of their level."""
        found: dict[str, tuple[int, CommonTable]] = {}
        for distance, level in enumerate(self.levels):
            for table in level.query.common_tables.values():
                found.setdefault(table.name, (distance, table))
        return list(found.values())

    def sources(self) -> list[tuple[int, Source]]:
        """Those that can be used at the cursor. An inner alias hides an outer one."""
        found: dict[str, tuple[int, Source]] = {}
        for distance, level in enumerate(self.levels):
            for source in level.sources:
                found.setdefault(source.label, (distance, source))
        return list(found.values())

    def source_named(self, path: tuple[str, ...]) -> Source | None:
        """The source that qualifies a column, by its alias or by schema and table."""
        for _, source in self.sources():
            if len(path) == 1 and source.label == path[0]:
                return source
            if len(path) > 1 and not source.alias and source.path[-2:] == path[-2:]:
                return source
        return None

    def columns(self, source: Source, depth: int = 0) -> list[Column]:
        key = id(source)
        if not self._budget:
            return self._columns.get(key, [])
        if key not in self._columns:
            self._columns[key] = []  # of a recursive query while it is being read
            self._columns[key] = self._within_budget(self._read_columns(source, depth))
        return self._columns[key]

    def _within_budget(self, columns: list[Column]) -> list[Column]:
        taken = columns[: min(MAX_COLUMNS, self._budget)]
        self._budget -= len(taken)
        return taken

    def column_type(self, path: tuple[str, ...]) -> str:
        """The type of a column that is named at the cursor; empty if it is not known."""
        if len(path) > 1:
            source = self.source_named(path[:-1])
            candidates = [source] if source is not None else []
        else:
            candidates = [source for _, source in self.sources()]
        for source in candidates:
            for column in self.columns(source):
                if column.name == path[-1] and column.type:
                    return column.type
        return ""

    def output_columns(self) -> list[Column]:
        """The columns that the query of the cursor selects, under the names that they have."""
        if not self.levels or self._followed > MAX_FOLLOWED_QUERIES:
            return []
        return [
            column
            for column in self._select_list(self.levels[0].query, self.levels[0].position)
            if column.name != _NO_NAME
        ]

    def _levels_around(self, here: Group, position: int) -> list[Level]:
        levels: list[Level] = []
        group: Group | None = here
        while group is not None:
            start = query_start(group.parts) if group.parent is None else 0
            is_level = group.is_query or group.parent is None
            if is_level and start is not None and position >= start:
                levels.append(self._level(self._query_of(group, start), position))
            position = group.index
            group = group.parent
        return levels

    def _query_of(self, group: Group, start: int = 0) -> Query:
        key = id(group)
        if key not in self._queries:
            self._queries[key] = read_query(group.parts, start)
        return self._queries[key]

    def _level(self, query: Query, position: int) -> Level:
        level = Level(query, position)
        number = query.clause_at(position)
        clause = query.clauses[number]
        part = query.parts[position]
        before = query.parts[position - 1] if position else None
        if clause.word == "WITH":
            return level
        is_in_rows = clause.word in {"FROM", "JOIN", "USING"}
        if is_in_rows and isinstance(part, Group) and part.is_query:
            if before is not None and before.word == "LATERAL":
                level.sources = [each for each in query.sources if each.query is not part]
            return level
        level.sources = _sources_at(query, number)
        return level

    def _read_columns(self, source: Source, depth: int) -> list[Column]:
        if source.query is not None:
            found = self.query_columns(source.query, depth + 1)
        elif source.is_function:
            return self._function_columns(source)
        else:
            found = self._relation_columns(source.path, depth)
        return _renamed(found, source.column_names)

    def _relation_columns(self, path: tuple[str, ...], depth: int) -> list[Column]:
        if len(path) == 1:
            for level in self.levels:
                if (table := level.query.common_tables.get(path[0])) is not None:
                    return self._common_table_columns(table, depth)
        for relation in self._index.relations.lookup(path):
            return [Column(each.name, each.type, each.comment) for each in relation.columns]
        return []

    def _common_table_columns(self, table: CommonTable, depth: int) -> list[Column]:
        key = id(table)
        if key not in self._columns:
            self._columns[key] = [Column(name) for name in table.column_names]
            found = self.query_columns(table.query, depth + 1) if table.query is not None else []
            self._columns[key] = self._within_budget(_renamed(found, table.column_names))
        return self._columns[key]

    def _function_columns(self, source: Source) -> list[Column]:
        for function in self._index.functions.lookup(source.path):
            if found := function_columns(function.arguments, function.result):
                return _renamed(found, source.column_names)
            result = function.result.removeprefix("SETOF ").replace('"', "")
            if rows := self._relation_columns(tuple(result.split(".")), MAX_NESTING):
                return _renamed(rows, source.column_names)
            return _renamed([Column(source.label, result)], source.column_names)
        return [Column(name) for name in source.column_names]

    def query_columns(self, group: Group, depth: int) -> list[Column]:
        """The columns that a query in parentheses gives, as far as its text says."""
        self._followed += 1
        if depth > MAX_NESTING or self._followed > MAX_FOLLOWED_QUERIES:
            return []
        query = self._query_of(group)
        around = self.levels
        self.levels = [Level(query, 0, query.sources), *around]
        try:
            return self._select_list(query, 0, depth)
        finally:
            self.levels = around

    def _select_list(self, query: Query, position: int, depth: int = 0) -> list[Column]:
        branch = query.clauses[query.clause_at(position)].branch
        listing = [
            number
            for number, clause in enumerate(query.clauses)
            if clause.word == "RETURNING" or (clause.word == "SELECT" and clause.branch == branch)
        ]
        if listing:  # RETURNING is the last
            sources = _sources_at(query, listing[-1])
            items = split_list(query.content(query.clauses[listing[-1]]))
            columns = (
                column for item in items for column in self._item_columns(item, sources, depth)
            )
            return list(itertools.islice(columns, MAX_COLUMNS))
        first = query.parts[0] if query.parts else None
        if isinstance(first, Group) and first.is_query:
            return self.query_columns(first, depth + 1)
        return _values_columns(query)

    def _item_columns(self, item: list[Element], sources: list[Source], depth: int) -> list[Column]:
        while item and item[0].word in {"DISTINCT", "ALL", "ON"}:
            item = item[2:] if item[0].word == "ON" else item[1:]
        if not item or all(map(is_cursor, item)):
            return []
        if item[-1].text == "*":
            label = item[0].name if len(item) > 1 else ""
            return [
                column
                for source in sources
                if not label or source.label == label
                for column in self.columns(source, depth)
            ]
        return [self._named_item(item, sources, depth)]

    def _named_item(self, item: list[Element], sources: list[Source], depth: int) -> Column:
        path, end = dotted_name(item, 0)
        column = Column(path[-1] if path and end == len(item) else _NO_NAME)
        if path and item[end:] and (isinstance(item[end], Group) or item[end].text == "::"):
            column.name = path[-1]  # of a function, or of a column whose type is changed
        elif path and end < len(item) and (item[end].name or item[end].word == "AS"):
            column.name = path[-1]
        is_plain = bool(path) and (
            end == len(item) or item[end].word == "AS" or end + 1 == len(item)
        )
        if is_plain and not (end < len(item) and isinstance(item[end], Group)):
            column.type = self._type_among(path, sources, depth)
        last = item[-1]
        if len(item) > 1 and last.name and not is_cursor(last) and _is_alias(item):
            column.name = last.name
        return column

    def _type_among(self, path: tuple[str, ...], sources: list[Source], depth: int) -> str:
        if len(path) > 1:
            sources = [source for source in sources if source.label == path[-2]]
        for source in sources[:MAX_TYPED_SOURCES]:
            if (found := self._types(source, depth).get(path[-1])) is not None:
                return found
        return ""

    def _types(self, source: Source, depth: int) -> dict[str, str]:
        key = id(source)
        if key not in self._types_by_name:
            columns = self.columns(source, depth)
            self._types_by_name[key] = {column.name: column.type for column in columns}
        return self._types_by_name[key]


def _values_columns(query: Query) -> list[Column]:
    """The columns of a query that is only VALUES."""
    rows = [clause for clause in query.clauses if clause.word == "VALUES" and not query.verb]
    first = next((part for row in rows for part in query.content(row)), None)
    count = len(split_list(first.parts)) if isinstance(first, Group) else 0
    return [Column(f"column{place + 1}") for place in range(min(count, MAX_COLUMNS))]


def _sources_at(query: Query, number: int) -> list[Source]:
    """The sources whose columns can be used in a clause."""
    clause = query.clauses[number]
    same = [each for each in query.sources if query.clauses[each.clause].branch == clause.branch]
    if query.target is None:
        return same
    if query.verb != "INSERT":
        return [query.target, *same]
    if clause.word in {"RETURNING", "INTO"}:
        return [query.target]
    if _is_on_conflict(query, number):
        return [query.target, Source(query.target.path, "excluded", clause=query.target.clause)]
    return same


def _is_on_conflict(query: Query, number: int) -> bool:
    """Whether the clause belongs to ON CONFLICT."""
    for clause in reversed(query.clauses[: number + 1]):
        if clause.word == "ON":
            first = query.content(clause)[:1]
            return bool(first) and first[0].word == "CONFLICT"
    return False


def _is_alias(item: list[Element]) -> bool:
    """Whether the last name of an item of a select list names its column."""
    before = item[-2]
    return before.word == "AS" or (
        before.text not in {".", "::"}
        and before.kind in {"word", "name", "string", "number", "group"}
        and item[-1].word not in {"END", "NULL", "TRUE", "FALSE"}
        and before.word not in {"AND", "OR", "NOT", "IS", "LIKE", "ILIKE", "THEN", "ELSE", "IN"}
    )


def _renamed(columns: list[Column], names: tuple[str, ...]) -> list[Column]:
    if not names:
        return columns
    renamed = [
        Column(name, columns[place].type if place < len(columns) else "")
        for place, name in enumerate(names)
    ]
    return renamed + columns[len(names) :]
