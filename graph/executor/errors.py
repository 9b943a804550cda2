"""Field errors: where they happened and which of them the response reports."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from graphql import FieldNode, GraphQLError
from graphql.error import located_error

# Innermost step first: (path of the parent or None, response key or list index, type's name).
# Plain tuples, because one is made for every object of a list whether it is needed or not.
Path: TypeAlias = tuple[Any, str | int, str | None]


def path_as_list(path: Path) -> list[str | int]:
    """Write a path down as the response does: outermost key first."""
    keys: list[str | int] = []
    step: Path | None = path
    while step is not None:
        step, key, _ = step
        keys.append(key)
    keys.reverse()
    return keys


def locate(error: Exception, nodes: Sequence[FieldNode], path: Path) -> GraphQLError:
    """Tie an error to its place in the document and in the response."""
    return located_error(error, nodes, path_as_list(path))


class ErrorLog:
    """The errors of one run, without those from positions that were nulled before."""

    __slots__ = ("_nulled", "errors")

    def __init__(self) -> None:
        self.errors: list[GraphQLError] = []
        self._nulled: set[Path | None] | None = None  # most runs meet no error

    def add(self, error: GraphQLError, path: Path | None) -> None:
        """Report an error that nulls this position; ``None`` is the whole response."""
        if self._nulled is None:
            self._nulled = set()
        if not _is_within(path, self._nulled):
            self._nulled.add(path)
            self.errors.append(error)


def _is_within(path: Path | None, nulled: set[Path | None]) -> bool:
    while path is not None:
        if path in nulled:
            return True
        path = path[0]
    return None in nulled
