"""The structure of a query: its clauses, the sources of its rows, and its WITH queries."""

from dataclasses import dataclass, field
from typing import NamedTuple

from db.workbench.completion.statement.groups import QUERY_WORDS, Element, Group
from db.workbench.completion.statement.parts import word_set

_CLAUSES = word_set(
    """SELECT FROM JOIN ON USING WHERE GROUP HAVING WINDOW ORDER LIMIT OFFSET FETCH FOR INTO VALUES
    SET RETURNING UPDATE DELETE INSERT MERGE WHEN UNION INTERSECT EXCEPT WITH TABLE"""
)
_SET_OPERATIONS = word_set("UNION INTERSECT EXCEPT")
_TARGET_CLAUSES = word_set("INSERT UPDATE DELETE MERGE")
_ROW_SOURCES = word_set("FROM JOIN USING TABLE")
_NOT_ALIASES = word_set(
    """AS ON USING JOIN LEFT RIGHT FULL INNER OUTER CROSS NATURAL WHERE GROUP ORDER HAVING WINDOW
    LIMIT OFFSET FETCH FOR SET VALUES RETURNING UNION INTERSECT EXCEPT TABLESAMPLE SELECT WHEN
    DEFAULT OVERRIDING WITH LATERAL ONLY ROWS DO"""
)
_BEFORE_QUERY = word_set("AS DO ALSO INSTEAD MATERIALIZED EXPLAIN ANALYZE VERBOSE")
_NO_QUERY_AFTER_WITH = word_set("CHECK NO DATA GRANT")
MAX_JOIN_DEPTH = 16


@dataclass(slots=True)
class Clause:
    """`word` is the keyword it begins with; `start` and `end` are the indices of what follows."""

    word: str
    start: int
    end: int
    branch: int = 0
    """Number of set operations before it."""


@dataclass(slots=True)
class Source:
    """A table, query or function that gives rows. `path` is its dotted name, empty for a query."""

    path: tuple[str, ...] = ()
    alias: str = ""
    column_names: tuple[str, ...] = ()
    query: Group | None = None
    is_function: bool = False
    is_lateral: bool = False
    clause: int = 0
    """Index of the clause with it."""

    @property
    def label(self) -> str:
        """The name by which its columns are qualified."""
        return self.alias or (self.path[-1] if self.path else "")


class CommonTable(NamedTuple):
    name: str
    column_names: tuple[str, ...]
    query: Group | None


@dataclass(slots=True)
class Query:
    """One level of a statement. Nested queries are levels of their own."""

    parts: list[Element]
    clauses: list[Clause] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    target: Source | None = None
    """The table that INSERT, UPDATE, DELETE or MERGE changes."""
    verb: str = ""
    common_tables: dict[str, CommonTable] = field(default_factory=dict)

    def clause_at(self, index: int) -> int:
        """The index of the clause with a part; of the last that begins before it."""
        found = 0
        for number, clause in enumerate(self.clauses):
            if clause.start <= index:
                found = number
        return found

    def content(self, clause: Clause) -> list[Element]:
        return self.parts[clause.start : clause.end]


def query_start(parts: list[Element]) -> int | None:
    """The index at which a query begins in a statement, such as after EXPLAIN or CREATE VIEW AS."""
    first = parts[0] if parts else None
    if first is None:
        return None
    if first.word in QUERY_WORDS or (isinstance(first, Group) and first.is_query):
        return 0
    explains = first.word == "EXPLAIN"
    before_query = _BEFORE_QUERY | ({"FOR"} if first.word == "DECLARE" else set())
    for index in range(1, len(parts)):
        word, before = parts[index].word, parts[index - 1]
        if word not in QUERY_WORDS or word == "TABLE":
            continue
        following = parts[index + 1].word if index + 1 < len(parts) else ""
        if word == "WITH" and following in _NO_QUERY_AFTER_WITH:
            continue
        if before.word in before_query or (explains and isinstance(before, Group)):
            return index
    return None


def read_query(parts: list[Element], start: int = 0) -> Query:
    query = Query(parts)
    _cut(query, start)
    for number, clause in enumerate(query.clauses):
        content = query.content(clause)
        if clause.word == "WITH":
            query.common_tables = {table.name: table for table in _common_tables(content)}
        elif query.target is None and _names_target(query.verb, clause.word):
            query.target = _target(content, number)
        elif clause.word in _ROW_SOURCES:
            for item in split_list(content):
                query.sources.extend(_sources(item, number, MAX_JOIN_DEPTH))
    return query


def _names_target(verb: str, word: str) -> bool:
    """Whether a clause names the table that the query changes."""
    if word == "INTO":
        return verb in {"INSERT", "MERGE"}
    return word == "UPDATE" or (word == "FROM" and verb == "DELETE")


def split_list(parts: list[Element]) -> list[list[Element]]:
    """The parts between commas."""
    items: list[list[Element]] = [[]]
    for part in parts:
        if part.text == "," and part.kind == "mark":
            items.append([])
        else:
            items[-1].append(part)
    return items


def dotted_name(parts: list[Element], index: int) -> tuple[tuple[str, ...], int]:
    """The dotted name that begins at an index, and the index after it."""
    path: list[str] = []
    while index < len(parts) and (name := parts[index].name or is_cursor(parts[index])):
        path.append(name if isinstance(name, str) else "")
        index += 1
        if index >= len(parts) or parts[index].text != ".":
            break
        index += 1
    return tuple(path), index


def is_cursor(part: Element) -> bool:
    return part.kind == "cursor"


def names_of(group: Group) -> tuple[str, ...]:
    """The first name of each item in parentheses: a list of columns, with or without types."""
    firsts = (item[0] for item in split_list(group.parts) if item)
    return tuple(first.name for first in firsts if first.name and not is_cursor(first))


def _cut(query: Query, start: int) -> None:
    """Divides a level into clauses."""
    parts, case_depth, branch = query.parts, 0, 0
    query.clauses.append(Clause("", start, len(parts)))
    for index in range(start, len(parts)):
        word = parts[index].word
        if word == "CASE":
            case_depth += 1
        elif word == "END" and case_depth:
            case_depth -= 1
        elif word in _CLAUSES and _begins_clause(query, word, index, start, case_depth):
            case_depth = 0
            branch += word in _SET_OPERATIONS
            if word == "USING" and query.clauses[-1].word == "JOIN":
                word = "JOIN USING"
            query.clauses[-1].end = index
            query.clauses.append(Clause(word, index + 1, len(parts), branch))
            if word in _TARGET_CLAUSES and not query.verb:
                query.verb = word


def _begins_clause(query: Query, word: str, index: int, start: int, case_depth: int) -> bool:
    """Whether the word begins a clause here, and is not a name or a part of another clause."""
    before = query.parts[index - 1] if index > start else None
    if before is None:
        return True
    if before.text == ".":
        return False
    if word in _NOT_AFTER:
        return before.word not in _NOT_AFTER[word]
    last = query.clauses[-1].word
    is_first = last in {"", "WITH"}
    conditions = {
        "WITH": False,
        "WHEN": query.verb == "MERGE" and not case_depth,
        "MERGE": is_first,
        "TABLE": is_first or last in _SET_OPERATIONS,
        "SET": bool(query.verb),
    }
    if word in _ACTIONS:
        return is_first or (before.word == "THEN" and query.verb == "MERGE")
    return conditions.get(word, True)


_ACTIONS = word_set("INSERT UPDATE DELETE")
_NOT_AFTER = {
    "FROM": word_set("DISTINCT"),  # IS DISTINCT FROM
    "ON": word_set("DISTINCT"),
    "VALUES": word_set("DEFAULT"),
    "USING": word_set("ORDER BY"),
}


def _target(content: list[Element], clause: int) -> Source:
    found = _sources(content, clause, 0, takes_arguments=False)
    return found[0] if found else Source(clause=clause)


def _common_tables(content: list[Element]) -> list[CommonTable]:
    found = []
    for item in split_list(content):
        parts = item[1:] if item and item[0].word == "RECURSIVE" else item
        if not parts or not parts[0].name:
            continue
        groups = [part for part in parts[1:] if isinstance(part, Group)]
        body = next((group for group in groups if group.is_query), None)
        is_listed = len(parts) > 1 and isinstance(parts[1], Group) and parts[1] is not body
        names = names_of(groups[0]) if is_listed else ()
        found.append(CommonTable(parts[0].name, names, body))
    return found


def _sources(
    item: list[Element], clause: int, depth: int, *, takes_arguments: bool = True
) -> list[Source]:
    """The source that an item of FROM names; several for a join in parentheses."""
    index = 0
    source = Source(clause=clause)
    while index < len(item) and item[index].word in {"ONLY", "LATERAL", "ROWS", "FROM"}:
        source.is_lateral |= item[index].word == "LATERAL"
        index += 1
    if index >= len(item):
        return []
    first = item[index]
    if isinstance(first, Group):
        if not first.is_query:
            return _joined(first, clause, depth)
        source.query = first
        index += 1
    else:
        source.path, index = dotted_name(item, index)
        if not source.path:
            return []
        if takes_arguments and index < len(item) and isinstance(item[index], Group):
            source.is_function = True
            index += 1
    _read_alias(source, item, index, takes_columns=takes_arguments)
    return [source]


def _joined(group: Group, clause: int, depth: int) -> list[Source]:
    if not depth:
        return []
    inner = Query(group.parts)
    _cut(inner, 0)
    inner.clauses[0].word = "FROM"
    return [
        source
        for part in inner.clauses
        if part.word in _ROW_SOURCES
        for item in split_list(inner.content(part))
        for source in _sources(item, clause, depth - 1)
    ]


def _read_alias(source: Source, item: list[Element], index: int, *, takes_columns: bool) -> None:
    rest = item[index:]
    if rest and rest[0].text == "*":
        rest = rest[1:]
    if len(rest) > 1 and rest[0].word == "WITH" and rest[1].word == "ORDINALITY":
        rest = rest[2:]
    if rest and rest[0].word == "AS":
        rest = rest[1:]
    if rest and rest[0].name and not is_cursor(rest[0]) and rest[0].word not in _NOT_ALIASES:
        source.alias = rest[0].name
        rest = rest[1:]
    if takes_columns and rest and isinstance(rest[0], Group) and not rest[0].is_query:
        source.column_names = names_of(rest[0])
