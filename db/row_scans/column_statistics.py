"""Statistics of the values of a column, in one pass and in bounded memory."""

import math
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

import msgspec

from db.row_scans.conditions import text_of
from db.row_scans.line_decoder import LineDecoder
from db.row_scans.sort_keys import INTEGERS, key_maker
from db.row_scans.type_oids import FLOATS, NUMERIC

MAX_COUNTED = 50_000
"""Distinct values that are counted exactly. Beyond it their number is estimated, and the counts of
the most frequent ones may be too low."""
MAX_COUNTED_BYTES = 16 * 1024 * 1024
TOP_VALUES = 20
MAX_VALUE_CHARS = 1_000
"""The texts of values are cut to it. Longer keys are replaced by their prefix and a hash."""
SAMPLE = 4_096
"""Smallest hashes from which the number of distinct values is estimated, to about 2 %."""
HASHES = 2**64
_EXACT = Context(prec=400_000, Emax=999_999, Emin=-999_999, traps=[])
"""Adds any numerics of PostgreSQL without rounding: they have at most 147,456 digits."""
_AVERAGE_DIGITS = 20


class StatisticsRequest(msgspec.Struct, frozen=True, tag="statistics"):
    """`column` is an index into `oids`, the types of all columns of the result."""

    oids: list[int]
    column: int


class TopValue(msgspec.Struct, frozen=True):
    value: str
    count: int


class Statistics(msgspec.Struct, frozen=True):
    """`sum` and `average` are of numbers; lengths count the characters of texts."""

    row_count: int
    null_count: int
    distinct_count: int
    distinct_is_exact: bool
    top_values: list[TopValue]
    count_error: int
    """The counts of `top_values` may be this much too low."""
    minimum: str | None = None
    maximum: str | None = None
    sum: str | None = None
    average: str | None = None
    shortest: int | None = None
    longest: int | None = None


class _DistinctEstimate:
    """Keeps the smallest hashes: the more values, the closer to zero they are."""

    def __init__(self) -> None:
        self._kept: set[int] = set()
        self._limit = HASHES

    def add(self, key: bytes) -> None:
        found = hash(key) % HASHES
        if found < self._limit:
            self._kept.add(found)
            if len(self._kept) >= 2 * SAMPLE:
                self._kept = set(sorted(self._kept)[:SAMPLE])
                self._limit = max(self._kept)

    @property
    def count(self) -> int:
        if self._limit == HASHES:
            return len(self._kept)
        kept = sorted(self._kept)[:SAMPLE]
        return round((SAMPLE - 1) * HASHES / kept[-1])


class _Frequencies:
    """Counts values exactly until there are too many, then drops the rarest ones (Misra-Gries)."""

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}
        self.texts: dict[bytes, str] = {}
        self.error = 0
        self._bytes = 0

    def add(self, key: bytes, value: Any) -> None:
        count = self.counts.get(key)
        if count is not None:
            self.counts[key] = count + 1
            return
        text = text_of(value)[:MAX_VALUE_CHARS]
        self.counts[key], self.texts[key] = 1, text
        self._bytes += len(key) + len(text)
        if len(self.counts) > MAX_COUNTED or self._bytes > MAX_COUNTED_BYTES:
            self._drop_rarest()

    def _drop_rarest(self) -> None:
        cut = sorted(self.counts.values())[len(self.counts) // 2]
        self.error += cut
        self.counts = {key: count - cut for key, count in self.counts.items() if count > cut}
        self.texts = {key: self.texts[key] for key in self.counts}
        self._bytes = sum(len(key) + len(text) for key, text in self.texts.items())

    def top(self) -> list[TopValue]:
        """The most frequent first, and of equals the first in the result."""
        best = sorted(self.counts.items(), key=lambda item: -item[1])[:TOP_VALUES]
        return [TopValue(self.texts[key], count) for key, count in best]


class ColumnStatistics:
    """Give it all rows of a result."""

    def __init__(self, request: StatisticsRequest) -> None:
        oid = request.oids[request.column]
        self._column = request.column
        self._decoder = LineDecoder(len(request.oids), {request.column})
        self._key = key_maker(oid)
        self._sum = _sum_of(oid)
        self._distinct = _DistinctEstimate()
        self._frequencies = _Frequencies()
        self._rows = self._nulls = 0
        self._ends: tuple[tuple[bytes, Any], tuple[bytes, Any]] | None = None
        self._shortest: int | None = None
        self._longest: int | None = None
        self._measures = oid not in INTEGERS | FLOATS | {NUMERIC}

    def add(self, _page: int, _offset: int, lines: bytes) -> None:
        values = [row[self._column] for row in self._decoder.decode(lines)]
        self._rows += len(values)
        present = [value for value in values if value is not None]
        self._nulls += len(values) - len(present)
        if not present:
            return
        keys = list(map(self._key, present))
        low, high = min(keys), max(keys)
        ends = [(low, present[keys.index(low)]), (high, present[keys.index(high)])]
        if self._ends is not None:
            first, last = self._ends
            ends = [min(first, ends[0], key=_first), max(last, ends[1], key=_first)]
        self._ends = (ends[0], ends[1])
        for key, value in zip(map(_short_key, keys), present, strict=True):
            self._distinct.add(key)
            self._frequencies.add(key, value)
        if self._measures and isinstance(present[0], str):
            self._measure([len(value) for value in present])
        try:
            self._sum.add(present)
        except (ArithmeticError, TypeError, ValueError):  # not what PostgreSQL sends
            self._sum = _NoSum()

    def _measure(self, lengths: list[int]) -> None:
        shortest, longest = min(lengths), max(lengths)
        self._shortest = shortest if self._shortest is None else min(shortest, self._shortest)
        self._longest = longest if self._longest is None else max(longest, self._longest)

    def result(self) -> Statistics:
        count = self._rows - self._nulls
        exact = self._frequencies.error == 0
        total, average = self._sum.texts(count) if count else (None, None)
        low, high = self._ends or ((b"", None), (b"", None))
        return Statistics(
            row_count=self._rows,
            null_count=self._nulls,
            distinct_count=len(self._frequencies.counts) if exact else self._distinct.count,
            distinct_is_exact=exact,
            top_values=self._frequencies.top(),
            count_error=self._frequencies.error,
            minimum=None if low[1] is None else text_of(low[1])[:MAX_VALUE_CHARS],
            maximum=None if high[1] is None else text_of(high[1])[:MAX_VALUE_CHARS],
            sum=total,
            average=average,
            shortest=self._shortest,
            longest=self._longest,
        )


def _first(pair: tuple[bytes, Any]) -> bytes:
    return pair[0]


def _short_key(key: bytes) -> bytes:
    if len(key) <= MAX_VALUE_CHARS:
        return key
    return key[:16] + hash(key).to_bytes(8, "big", signed=True) + len(key).to_bytes(4, "big")


class _NoSum:
    """The sum of values that are not numbers: none."""

    def add(self, values: list[Any]) -> None:
        pass

    def texts(self, _count: int) -> tuple[str | None, str | None]:
        return None, None


class _ExactSum(_NoSum):
    """The sum of integers and numerics."""

    def __init__(self, parse: Callable[[Any], Any]) -> None:
        self._parse = parse
        self._total = Decimal(0)

    def add(self, values: list[Any]) -> None:
        for value in map(self._parse, values):
            self._total = _EXACT.add(self._total, Decimal(value))

    def texts(self, count: int) -> tuple[str | None, str | None]:
        if not self._total.is_finite():
            return _special_text(self._total), _special_text(self._total)
        digits = max(_AVERAGE_DIGITS, self._total.adjusted() + 1 + _AVERAGE_DIGITS)
        average = Context(prec=digits, Emax=999_999, Emin=-999_999).divide(self._total, count)
        return format(self._total, "f"), format(average.normalize(_EXACT), "f")


class _FloatSum(_NoSum):
    """The sum of each batch is exact, and so is the sum of these but for its rounding."""

    def __init__(self) -> None:
        self._total = 0.0

    def add(self, values: list[Any]) -> None:
        self._total = _sum_floats([self._total, *map(float, values)])

    def texts(self, count: int) -> tuple[str | None, str | None]:
        return _float_text(self._total), _float_text(self._total / count)


def _sum_floats(values: list[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # of infinities of both signs, or beyond the range
        return sum(values)


def _float_text(value: float) -> str:
    return text_of(value) if math.isfinite(value) else _special_text(Decimal(value))


def _special_text(value: Decimal) -> str:
    return "NaN" if value.is_nan() else "Infinity" if value > 0 else "-Infinity"


def _sum_of(oid: int) -> _NoSum:
    if oid in FLOATS:
        return _FloatSum()
    if oid in INTEGERS:
        return _ExactSum(int)
    return _ExactSum(_plain_decimal) if oid == NUMERIC else _NoSum()


def _plain_decimal(text: str) -> Decimal:
    """PostgreSQL writes no exponent, with which a few characters take a million digits to add."""
    if "e" in text or "E" in text:
        raise ValueError(text)
    return Decimal(text)
