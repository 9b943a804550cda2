"""`NameTable`, which finds names by prefix and by part."""

import bisect
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class MatchKind(IntEnum):
    """How a name matches a typed text; the better one is smaller."""

    EXACT = 0
    PREFIX = 1
    WORD = 2
    INSIDE = 3


def match_kind(folded: str, typed: str) -> MatchKind | None:
    """`folded` is a name in lower case; so is `typed`, of which an empty one matches all."""
    if folded.startswith(typed):
        return MatchKind.EXACT if len(folded) == len(typed) else MatchKind.PREFIX
    found = folded.find(typed)
    if found < 0:
        return None
    while found > 0:
        if not folded[found - 1].isalnum():
            return MatchKind.WORD
        found = folded.find(typed, found + 1)
    return MatchKind.INSIDE


class NameTable(Generic[T]):
    """Values by name. A search costs one scan of all names, in C."""

    def __init__(self, items: Sequence[tuple[str, T]]) -> None:
        pairs = sorted(((fold(name), index) for index, (name, _) in enumerate(items)))
        self._names = [name for name, _ in pairs]
        self._values = [items[index][1] for _, index in pairs]
        self._text = "\n" + "\n".join(self._names) + "\n"
        self._starts: list[int] = []
        position = 1
        for name in self._names:
            self._starts.append(position)
            position += len(name) + 1

    def __len__(self) -> int:
        return len(self._names)

    def find(self, typed: str, limit: int) -> Iterator[tuple[MatchKind, T]]:
        """The best matches, in the order of their kind and name.

        `limit` is of each kind. `typed` is folded and without line breaks.
        """
        if "\n" in typed:
            return
        first = bisect.bisect_left(self._names, typed)
        last = bisect.bisect_left(self._names, typed + "\U0010ffff")
        for index in range(first, min(last, first + limit)):
            is_exact = len(self._names[index]) == len(typed)
            yield MatchKind.EXACT if is_exact else MatchKind.PREFIX, self._values[index]
        if typed:
            words = list(self._find_inside("_" + typed, limit, frozenset()))
            yield from ((MatchKind.WORD, self._values[index]) for index in words)
            inside = self._find_inside(typed, limit, frozenset(words))
            yield from ((MatchKind.INSIDE, self._values[index]) for index in inside)

    def _find_inside(self, part: str, limit: int, seen: frozenset[int]) -> Iterator[int]:
        """The indices of names with the part behind their beginning."""
        text, position, found = self._text, 0, 0
        while found < limit and (position := text.find(part, position + 1)) >= 0:
            if text[position - 1] != "\n":
                index = bisect.bisect_right(self._starts, position) - 1
                name = self._names[index]
                if not name.startswith(part.removeprefix("_")) and index not in seen:
                    found += 1
                    yield index
                position = self._starts[index] + len(name) - 1


def fold(name: str) -> str:
    return name.lower().replace("\n", " ")
