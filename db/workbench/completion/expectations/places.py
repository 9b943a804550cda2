"""What can stand at the cursor of a statement: finds the query, the parentheses or the command."""

from collections.abc import Callable
from typing import NamedTuple

from db.workbench.completion.expectations import grammar
from db.workbench.completion.expectations.clauses import expect_in_joined, expect_in_query
from db.workbench.completion.expectations.commands import expect_in_command
from db.workbench.completion.expectations.expected import NOTHING, VALUES, Expected, Offer
from db.workbench.completion.expectations.values import call_name, in_call, name_before
from db.workbench.completion.statement.groups import Element, Group
from db.workbench.completion.statement.queries import Query, Source, read_query, split_list
from db.workbench.completion.statement.scopes import Level, Scope


class CursorPlace(NamedTuple):
    """`path` is the dotted name before the cursor, without the part that is typed."""

    path: tuple[str, ...]
    expected: Expected


def place_of(here: Group, position: int, scope: Scope) -> CursorPlace:
    """What is expected at the cursor, which is at a position in a group."""
    start = position
    while start >= 2 and here.parts[start - 1].text == "." and here.parts[start - 2].name:
        start -= 2
    path = name_before(here.parts, position - 1) if start < position else ()
    if not path and start and here.parts[start - 1].text == ".":
        return CursorPlace(path, NOTHING)  # a field of a composite value, such as `(order).total`
    level = scope.levels[0] if scope.levels else None
    if level is None:
        return CursorPlace(path, expect_in_command(here, start))
    if level.query.parts is here.parts:
        return CursorPlace(path, expect_in_query(level.query, start))
    return CursorPlace(path, _in_group(level, here, start))


def _in_group(level: Level, here: Group, start: int) -> Expected:
    """In parentheses that are no query of their own."""
    before = here.parts[:start]
    parent = here.parent
    assert parent is not None  # noqa: S101 - a group without one is the level itself
    inside = _In(level.query, here, before)
    if parent.parts is level.query.parts:
        read = _READERS.get(inside.query.clauses[inside.clause].word)
        if read is not None and (found := read(inside)) is not None:
            return found
    if _is_joined(inside, parent):
        return expect_in_joined(read_query(here.parts), start)
    return in_call(call_name(parent.parts, here.index), before, parent.parts[: here.index])


class _In(NamedTuple):
    """Parentheses in a clause of a query. `before` is what stands in them before the cursor."""

    query: Query
    here: Group
    before: list[Element]

    @property
    def clause(self) -> int:
        return self.query.clause_at(self.here.index)

    @property
    def content(self) -> list[Element]:
        """The clause up to the parentheses."""
        start = self.query.clauses[self.clause].start
        return self.query.parts[start : self.here.index]

    @property
    def begins_item(self) -> bool:
        content = self.content
        return not content or content[-1].text == ","


def _in_target(at: _In) -> Expected | None:
    """The columns of INSERT, which follow the name of the table."""
    is_list = at.query.verb == "MERGE" or at.content
    return _listed(at.query.target, at.before) if is_list else None


def _in_conflict(at: _In) -> Expected | None:
    if [part.word for part in at.content] != ["CONFLICT"]:
        return None
    return _listed(at.query.target, at.before, Offer.FUNCTIONS)


def _in_join_using(at: _In) -> Expected | None:
    return Expected((Offer.COMMON_COLUMNS,), taken=_taken(at.before))


def _in_assigned(at: _In) -> Expected | None:
    return _listed(at.query.target, at.before) if at.begins_item else None


def _in_common_table(at: _In) -> Expected | None:
    last = at.content[-1].word if at.content else ""
    is_query = last in {"AS", "MATERIALIZED"} and not at.before
    return Expected(keywords=grammar.DATA_STATEMENTS) if is_query else NOTHING


def _in_window(at: _In) -> Expected | None:
    return in_call("WINDOW", at.before, [])


def _in_operand(at: _In) -> Expected | None:
    """A query in parentheses after UNION, INTERSECT or EXCEPT, or at the start."""
    return None if at.before else Expected(keywords=grammar.QUERIES)


def _in_source(at: _In) -> Expected | None:
    item = split_list(at.content)[-1]
    if not item or item[-1].word in {"ONLY", "FROM"}:
        return None  # a join in parentheses, or a query that begins
    if item[-1].word == "LATERAL":
        return _in_operand(at)
    names = [part for part in item if part.name and part.word not in {"LATERAL", "ONLY"}]
    dots = [part for part in item if part.text == "."]
    if len(names) == len(dots) + 1 and not any(part.word == "AS" for part in item):
        return None  # the arguments of a function
    column = split_list(at.before)[-1]
    return Expected((Offer.TYPES, Offer.SCHEMAS)) if len(column) == 1 else NOTHING


def _in_row(at: _In) -> Expected | None:
    """In a row of VALUES, where the place says to which column the value goes."""
    if not at.begins_item:
        return None
    found = in_call("", at.before, [])
    if at.before and at.before[-1].text != ",":
        return found
    if not at.query.verb:
        return Expected(VALUES, found.keywords)
    place = len(split_list(at.before)) - 1
    columns = _insert_columns(at.query)
    compared = columns[place] if place < len(columns) else f"#{place}"
    offers = VALUES if at.query.verb == "MERGE" else (Offer.FUNCTIONS, Offer.SCHEMAS)
    return Expected(
        offers,
        found.keywords,
        at.query.target,
        compared=(compared,),
        first_keywords=("DEFAULT",),
    )


def _insert_columns(query: Query) -> list[str]:
    """The columns that INSERT names, in the last parentheses before VALUES."""
    for clause in reversed(query.clauses):
        if clause.word in {"INTO", "INSERT"}:
            for part in reversed(query.content(clause)):
                if isinstance(part, Group):
                    return [item[0].name if item else "" for item in split_list(part.parts)]
    return []


def _is_joined(at: _In, parent: Group) -> bool:
    """Whether the parentheses are around sources of rows, not around a value."""
    if parent.parts is not at.query.parts:
        return any(part.word == "JOIN" for part in at.here.parts)
    if at.query.clauses[at.clause].word not in {"FROM", "JOIN", "USING"}:
        return False
    item = split_list(at.content)[-1]
    return not item or item[-1].word == "ONLY"


def _listed(target: Source | None, before: list[Element], *others: Offer) -> Expected:
    """In a list of column names of a table."""
    if before and before[-1].text != ",":
        return NOTHING
    return Expected((Offer.TARGET_COLUMNS, *others), target=target, taken=_taken(before))


def _taken(before: list[Element]) -> frozenset[str]:
    return frozenset(item[0].name for item in split_list(before) if item)


_READERS: dict[str, Callable[[_In], Expected | None]] = {
    "INTO": _in_target,
    "INSERT": _in_target,
    "ON": _in_conflict,
    "JOIN USING": _in_join_using,
    "SET": _in_assigned,
    "VALUES": _in_row,
    "WITH": _in_common_table,
    "WINDOW": _in_window,
    "FROM": _in_source,
    "JOIN": _in_source,
    "USING": _in_source,
    "UNION": _in_operand,
    "INTERSECT": _in_operand,
    "EXCEPT": _in_operand,
    "": _in_operand,
}
