"""The nesting of a statement: its parts in groups by parentheses and brackets."""

from db.workbench.completion.statement.parts import Part, Statement

MAX_DEPTH = 64
"""Deeper groups are left out. A cursor in one of them has no completions."""
_CLOSING = {"(": ")", "[": "]"}
QUERY_WORDS = frozenset(
    ("SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE", "MERGE", "TABLE")
)


class Group:
    """The parts between two parentheses, or all of the statement."""

    __slots__ = ("index", "mark", "parent", "parts")

    kind = "group"
    word = ""
    text = ""
    name = ""

    def __init__(self, mark: str, parent: "Group | None", index: int) -> None:
        self.mark = mark
        self.parent = parent
        self.index = index
        """Of the group among the parts of its parent."""
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
    """The group with the cursor and its index in it, or None if the cursor is nested too deeply."""
    here = Group("", None, 0)
    found: tuple[Group, int] | None = None
    skipped = 0
    depth = 0
    for position, part in enumerate(statement.parts):
        text = part.text if part.kind == "mark" else ""
        if text in _CLOSING:
            if depth >= MAX_DEPTH or skipped:
                skipped += 1
                continue
            depth += 1
            group = Group(text, here, len(here.parts))
            here.parts.append(group)
            here = group
        elif text in {")", "]"}:
            if skipped:
                skipped -= 1
            else:
                here, depth = _closed(here, text, depth)
        elif not skipped:
            if position == statement.cursor.part:
                found = (here, len(here.parts))
            here.parts.append(part)
    return found


def _closed(here: Group, mark: str, depth: int) -> tuple[Group, int]:
    """The group around the one that the mark closes. A parenthesis closes brackets in it too."""
    while here.parent is not None and here.mark == "[" and mark == ")":
        here, depth = here.parent, depth - 1
    if here.parent is not None and _CLOSING[here.mark] == mark:
        return here.parent, depth - 1
    return here, depth
