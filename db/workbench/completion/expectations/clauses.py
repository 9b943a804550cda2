"""What can stand at the cursor of a query, from the clause around it and the part before it."""

from collections.abc import Callable
from typing import NamedTuple

from db.workbench.completion.expectations import grammar
from db.workbench.completion.expectations.expected import NOTHING, ROWS, TABLES, Expected, Offer
from db.workbench.completion.expectations.values import is_value_expected, value_expected
from db.workbench.completion.statement.groups import Element, Group
from db.workbench.completion.statement.queries import Clause, Query, split_list


class At(NamedTuple):
    """A place in a clause of a query. `before` is the clause up to the name at the cursor."""

    query: Query
    clause: Clause
    before: list[Element]

    @property
    def following(self) -> tuple[str, ...]:
        return following_clauses(self.query, self.clause)

    @property
    def last(self) -> str:
        """The keyword before the cursor; empty at the start and after anything else."""
        return self.before[-1].word if self.before else ""

    @property
    def item(self) -> list[Element]:
        """What stands before the cursor since the last comma."""
        return split_list(self.before)[-1]

    def as_if_in(self, word: str) -> "At":
        clause = Clause(word, self.clause.start, self.clause.end, self.clause.branch)
        return At(self.query, clause, self.before)


def expect_in_query(query: Query, position: int) -> Expected:
    """`position` is the index at which the name at the cursor begins."""
    clause = query.clauses[query.clause_at(position)]
    at = At(query, clause, query.parts[clause.start : position])
    return _READERS.get(clause.word, _in_expression)(at)


def expect_in_joined(query: Query, position: int) -> Expected:
    """In the parentheses around a join, of which `query` has the parts."""
    query.clauses[0].word = "FROM"
    found = expect_in_query(query, position)
    if position == 0:
        return found._replace(first_keywords=grammar.QUERIES)
    joins = {*grammar.JOINS, *grammar.OPERATORS, "ON", "USING", "AS", "JOIN"}
    return found._replace(keywords=tuple(word for word in found.keywords if word in joins))


def following_clauses(query: Query, clause: Clause) -> tuple[str, ...]:
    """The keywords of the clauses that can come after one."""
    if query.verb in grammar.CHANGE_ORDER and not (
        query.verb == "INSERT" and clause.word not in {"VALUES", "RETURNING", "INTO"}
    ):
        return _following_change(query, clause)
    words = [word for word, _ in grammar.SELECT_ORDER]
    own = "FROM" if clause.word in {"JOIN", "ON", "JOIN USING", "TABLE"} else clause.word
    place = words.index(own) if own in words else -1
    found = [
        keyword
        for word, keywords in grammar.SELECT_ORDER[place + 1 :]
        for keyword in keywords
        if word != own
    ]
    if clause.word == "SELECT":
        found.append("INTO")
    return (*found, "ON CONFLICT", "RETURNING") if query.verb == "INSERT" else tuple(found)


def _following_change(query: Query, clause: Clause) -> tuple[str, ...]:
    if query.verb == "MERGE" and clause.word in {"ON", "SET", "WHEN", "VALUES"}:
        return ("WHEN MATCHED", "WHEN NOT MATCHED", "RETURNING")
    order = grammar.CHANGE_ORDER[query.verb]
    words = [each.word for each in query.clauses]
    last = max((order.index(word) for word in words if word in order), default=-1)
    if query.verb == "INSERT" and clause.word == "VALUES":
        return order[2:]
    return order[max(last, 0 if query.verb == "UPDATE" else -1) + 1 :]


def _words(*keywords: str) -> Expected:
    return Expected(keywords=keywords)


def _in_expression(at: At) -> Expected:
    joins = grammar.JOINS if at.clause.word == "ON" else ()
    if len(at.item) > 1:
        return value_expected(at.before, (*grammar.OPERATORS[:2], *joins, *at.following,
                                          *grammar.OPERATORS[2:]))  # fmt: skip
    return value_expected(at.before, (*grammar.OPERATORS, *joins, *at.following))


def _in_select(at: At) -> Expected:
    if at.last == "AS":
        return NOTHING
    if not at.before or (len(at.before) == 1 and at.last == "DISTINCT"):
        found = value_expected(at.before)
        firsts = ("ON",) if at.before else ("DISTINCT", "DISTINCT ON", "ALL")
        return found._replace(keywords=(*firsts, *found.keywords))
    is_after_on = len(at.before) == 3 and at.before[1].word == "ON"
    if is_after_on:
        return value_expected([])
    calls = grammar.AFTER_CALL if isinstance(at.before[-1], Group) else ()
    return value_expected(at.before, ("FROM", "AS", *calls, *grammar.OPERATORS, *at.following))


def _in_returning(at: At) -> Expected:
    return NOTHING if at.last == "AS" else value_expected(at.before, ("AS", *grammar.OPERATORS))


def _in_rows(at: At) -> Expected:
    """In FROM and after JOIN, and in USING of DELETE and MERGE."""
    query, clause, item = at.query, at.clause, at.item
    named = [part for part in item if part.word not in {"ONLY", "LATERAL"}]
    if query.target is not None and query.clauses[query.target.clause] is clause:
        return _after_target(named, ("USING", "WHERE", "RETURNING"))
    if not named:
        is_lateral = at.last == "LATERAL"
        return Expected(ROWS, () if is_lateral else ("LATERAL", "ONLY", "ROWS FROM"))
    if at.last == "AS" or at.last in grammar.JOIN_SIDES:
        return NOTHING if at.last == "AS" else _words("JOIN", "OUTER JOIN", "JOIN LATERAL")
    if query.verb == "MERGE":
        return _words("ON", "AS")
    joins = (*grammar.JOINS, "TABLESAMPLE", "WITH ORDINALITY")
    side = query.parts[clause.start - 2].word if clause.start > 1 else ""
    if clause.word == "JOIN" and side not in {"CROSS", "NATURAL"}:
        return _words("ON", "USING", "AS", *joins, *at.following)
    return _words("AS", *at.following[:2], *joins, *at.following[2:])


def _after_target(named: list[Element], keywords: tuple[str, ...]) -> Expected:
    if not named:
        return Expected(TABLES, ("ONLY",))
    return NOTHING if named[-1].word == "AS" else Expected(keywords=("AS", *keywords))


def _in_join_using(at: At) -> Expected:
    return _words(*grammar.JOINS, *at.following) if at.before else NOTHING


def _in_by(at: At) -> Expected:
    """In GROUP BY and ORDER BY."""
    if not at.before:
        return _words("BY")
    content = at.before[1:]
    is_sort = at.clause.word == "ORDER"
    if at.last == "NULLS":
        return _words("FIRST", "LAST")
    if is_value_expected(content):
        found = value_expected(content)
        firsts = () if is_sort else ("GROUPING SETS", "ROLLUP", "CUBE")
        offers = (Offer.COLUMNS, Offer.OUTPUT_COLUMNS, *found.offers[1:])
        return found._replace(offers=offers, keywords=(*firsts, *found.keywords))
    sorts = grammar.SORTS if is_sort else ()
    return value_expected(content, (*sorts, *at.following, *grammar.OPERATORS))


def _in_set(at: At) -> Expected:
    item = at.item
    if not item:
        taken = frozenset(each[0].name for each in split_list(at.before) if each)
        return Expected((Offer.TARGET_COLUMNS,), target=at.query.target, taken=taken)
    assigned = next((place for place, part in enumerate(item) if part.text == "="), None)
    if assigned is None:
        return NOTHING
    if assigned + 1 < len(item):
        return value_expected(item[assigned + 1 :], (*at.following, *grammar.OPERATORS))
    found = value_expected([])
    path = (item[assigned - 1].name,) if assigned else ()
    return found._replace(
        compared=path, target=at.query.target, keywords=("DEFAULT", *found.keywords)
    )


def _in_values(at: At) -> Expected:
    if not at.before or at.before[-1].text == ",":
        return NOTHING
    return Expected(keywords=at.following)


def _in_insert(at: At) -> Expected:
    if at.query.verb == "MERGE":
        return _words("VALUES", "DEFAULT VALUES", "OVERRIDING SYSTEM VALUE")
    return NOTHING if at.before else _words("INTO")


def _in_into(at: At) -> Expected:
    if not at.before:
        return Expected(TABLES) if at.query.verb else _words("TEMP", "UNLOGGED")
    if at.last == "AS":
        return NOTHING
    if at.query.verb == "MERGE":
        return _words("USING", "AS")
    if at.query.verb == "INSERT":
        is_whole = at.last == "VALUES"  # DEFAULT VALUES
        return (
            _words("ON CONFLICT", "RETURNING") if is_whole else _words(*grammar.AFTER_INSERT_TABLE)
        )
    return Expected(keywords=at.as_if_in("SELECT").following)


def _in_update(at: At) -> Expected:
    if at.query.verb == "MERGE":
        return _words("SET")
    return _after_target([part for part in at.before if part.word != "ONLY"], ("SET",))


def _in_delete(at: At) -> Expected:
    if at.query.verb == "MERGE":
        return _words("WHEN MATCHED", "WHEN NOT MATCHED", "RETURNING")
    return NOTHING if at.before else _words("FROM")


def _in_merge(at: At) -> Expected:
    return NOTHING if at.before else _words("INTO")


def _in_on(at: At) -> Expected:
    first = at.before[0].word if at.before else ""
    if first == "CONFLICT":
        default = _words("DO NOTHING", "DO UPDATE SET", "ON CONSTRAINT", "WHERE")
        return _ON_CONFLICT.get(at.last, default)
    if not first and at.query.verb == "INSERT" and not at.query.sources:
        return _words("CONFLICT")
    return _in_expression(at)


_ON_CONFLICT = {
    "DO": _words("NOTHING", "UPDATE SET"),
    "CONSTRAINT": NOTHING,
    "NOTHING": _words("RETURNING"),
    "UPDATE": _words("SET"),
    "WHERE": value_expected([]),
}


def _in_when(at: At) -> Expected:
    words = [part.word for part in at.before]
    if "THEN" in words:
        return Expected(keywords=grammar.MERGE_ACTIONS) if words[-1] == "THEN" else NOTHING
    if "AND" in words:
        content = at.before[words.index("AND") + 1 :]
        return value_expected(content, ("THEN", *grammar.OPERATORS))
    if at.last == "MATCHED":
        return _words("THEN", "AND", "BY SOURCE", "BY TARGET")
    return Expected(keywords=("MATCHED",) if words else grammar.MERGE_WHEN)


def _in_limit(at: At) -> Expected:
    if at.before:
        return Expected(keywords=at.following)
    return Expected((Offer.FUNCTIONS,), ("ALL",) if at.clause.word == "LIMIT" else ())


def _in_fetch(at: At) -> Expected:
    if not at.before:
        return _words("FIRST", "NEXT")
    return _words("ROW ONLY", "ROWS ONLY", "ROWS WITH TIES", "ONLY", "WITH TIES")


def _in_for(at: At) -> Expected:
    if not at.before:
        return Expected(keywords=grammar.LOCKS)
    if at.last == "OF" or at.before[-1].text == ",":
        return Expected((Offer.ALIASES,))
    if at.last in {"NO", "KEY"}:
        return _words("KEY UPDATE", "UPDATE", "SHARE")
    return _words(*grammar.AFTER_LOCK, "FOR UPDATE")


def _in_with(at: At) -> Expected:
    item = at.item
    if not item:
        return NOTHING if at.before else _words("RECURSIVE")
    if at.last == "RECURSIVE":
        return NOTHING
    if at.last == "AS":
        return _words("MATERIALIZED", "NOT MATERIALIZED")
    if isinstance(item[-1], Group) and any(part.word == "AS" for part in item):
        return _words("SELECT", "INSERT INTO", "UPDATE", "DELETE FROM", "MERGE INTO")
    return _words("AS")


def _in_set_operation(at: At) -> Expected:
    if at.before and isinstance(at.before[-1], Group):
        return Expected(keywords=at.as_if_in("WINDOW").following)
    return _words(*grammar.QUERIES, *(() if at.before else ("ALL", "DISTINCT")))


def _at_start(at: At) -> Expected:
    """Before the first clause: at the start, or after a query in parentheses."""
    if not at.before:
        return Expected(keywords=grammar.DATA_STATEMENTS)
    if isinstance(at.before[-1], Group):
        return Expected(keywords=at.as_if_in("WINDOW").following)
    return NOTHING


_READERS: dict[str, Callable[[At], Expected]] = {
    "": _at_start,
    "SELECT": _in_select,
    "RETURNING": _in_returning,
    "FROM": _in_rows,
    "JOIN": _in_rows,
    "USING": _in_rows,
    "TABLE": _in_rows,
    "JOIN USING": _in_join_using,
    "GROUP": _in_by,
    "ORDER": _in_by,
    "SET": _in_set,
    "VALUES": _in_values,
    "INSERT": _in_insert,
    "INTO": _in_into,
    "UPDATE": _in_update,
    "DELETE": _in_delete,
    "MERGE": _in_merge,
    "ON": _in_on,
    "WHEN": _in_when,
    "LIMIT": _in_limit,
    "OFFSET": _in_limit,
    "FETCH": _in_fetch,
    "FOR": _in_for,
    "WITH": _in_with,
    "UNION": _in_set_operation,
    "INTERSECT": _in_set_operation,
    "EXCEPT": _in_set_operation,
}
