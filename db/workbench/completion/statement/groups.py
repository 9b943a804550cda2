"""The nesting of a statement: its parts in groups by parentheses and brackets."""

from db.workbench.completion.statement.parts import Part, Statement

MAX_DEPTH = 64
"""Deeper groups are left out. A cursor in one of them has no completions."""
_CLOSING = {"(": ")", "[": "]"}
_OPENING = {")": "(", "]": "["}
_ENDS = frozenset(
    ("FROM", "WHERE", "GROUP", "HAVING", "LIMIT", "UNION", "INTERSECT", "EXCEPT", "RETURNING")
)
_CALLS_WITH_FROM = frozenset(("EXTRACT", "SUBSTRING", "TRIM", "OVERLAY"))
QUERY_WORDS = frozenset(
    ("SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "TABLE")
)


class Group:
    """The parts between two parentheses, or all of the statement."""

    __slots__ = ("depth", "index", "is_closed", "mark", "parent", "parts")

    kind = "group"
    word = ""
    text = ""
    name = ""

    def __init__(
        self, mark: str, parent: "Group | None", index: int, *, is_closed: bool = True
    ) -> None:
        self.mark = mark
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.is_closed = is_closed
        self.index = index
        """The position of the group among the parts of its parent."""
        self.parts: list[Part | Group] = []

    @property
    def is_query(self) -> bool:
        """Whether a query is in the parentheses, also in further ones before a UNION."""
        first: Part | Group | None = self
        for _ in range(MAX_DEPTH):
            if not isinstance(first, Group):
                break
            first = first.parts[0] if first.parts else None
        return first is not None and first.word in QUERY_WORDS


Element = Part | Group


def nest(statement: Statement) -> tuple[Group, int] | None:
    """The group with the cursor and its index in it, or None if the cursor is nested too deeply.

    Parentheses that are not closed end before the next clause, as in `SELECT sum(| FROM orders`.
    """
    here = Group("", None, 0)
    found: tuple[Group, int] | None = None
    unclosed = _unclosed(statement.parts)
    skipped = 0
    for position, part in enumerate(statement.parts):
        text = part.text if part.kind == "mark" else ""
        if skipped:
            skipped += (text in _CLOSING) - (text in _OPENING)
        elif text in _CLOSING:
            if here.depth >= MAX_DEPTH:
                skipped = 1
                continue
            here = Group(text, here, len(here.parts), is_closed=position not in unclosed)
            assert here.parent is not None  # noqa: S101 - given in the line above
            here.parent.parts.append(here)
        elif text in _OPENING:
            here = _closed(here, text)
        else:
            if part.word in _ENDS:
                here = _left(here, part.word, after_cursor=found is not None)
            if position == statement.cursor.part:
                found = (here, len(here.parts))
            here.parts.append(part)
    return found


def _closed(here: Group, mark: str) -> Group:
    """The group around the one that the mark closes. A parenthesis closes brackets in it too."""
    while here.parent is not None and here.mark == "[" and mark == ")":
        here = here.parent
    return here.parent if here.parent is not None and _CLOSING[here.mark] == mark else here


def _left(here: Group, word: str, *, after_cursor: bool) -> Group:
    """The group around those that lack their end and that a clause, which begins here, leaves."""
    while here.parent is not None and not here.is_closed and here.parts and not here.is_query:
        called = here.parent.parts[here.index - 1].word if here.index else ""
        if word == "FROM" and called in _CALLS_WITH_FROM and not after_cursor:
            break
        here = here.parent
    return here


def _unclosed(parts: list[Part]) -> frozenset[int]:
    """The positions of the marks that open a group without its end."""
    opened: list[int] = []
    for position, part in enumerate(parts):
        if part.kind == "mark" and part.text in _CLOSING:
            opened.append(position)
        elif part.kind == "mark" and part.text in _OPENING and opened:
            opened.pop()
    return frozenset(opened)
