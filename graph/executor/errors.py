"""Field errors: their positions, and which of them the response reports."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from graphql import FieldNode, GraphQLError
from graphql.error import located_error

# Innermost step first: (path of the parent or None, response key or list index, type's name).
# Plain tuples, because one is made for every object of a list whether it is needed or not.
Path: TypeAlias = tuple[Any, str | int, str | None]


class TooManyInvalidValues(ValueError):
    """The variables are invalid, and have more values than the search for the error allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"invalid variables with more than {limit:,} values")
        self.limit = limit


def path_as_list(path: Path) -> list[str | int]:
    """The path as the response shows it: outermost key first."""
    keys: list[str | int] = []
    step: Path | None = path
    while step is not None:
        step, key, _ = step
        keys.append(key)
    keys.reverse()
    return keys


def locate(error: Exception, nodes: Sequence[FieldNode], path: Path) -> GraphQLError:
    """Add the position in the document and in the response to an error."""
    return located_error(error, nodes, path_as_list(path))


class ErrorLog:
    """The errors of one run. Errors below a position that is already null are dropped."""

    __slots__ = ("_nulled", "errors")

    def __init__(self) -> None:
        self.errors: list[GraphQLError] = []
        self._nulled: set[Path | None] | None = None  # created on the first error

    def add(self, error: GraphQLError, path: Path | None) -> None:
        """Report an error that makes this position null; ``None`` is the whole response."""
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
