"""What can stand at the cursor within an expression."""

from collections.abc import Callable

from db.workbench.completion.expectations import grammar
from db.workbench.completion.expectations.expected import NOTHING, VALUES, Expected, Offer
from db.workbench.completion.statement.groups import Element

_COMPARISONS = frozenset(("=", "<>", "!=", "<", ">", "<=", ">="))
_TYPES = Expected((Offer.TYPES, Offer.SCHEMAS))
_AFTER = {
    "::": _TYPES,
    "IS": Expected(keywords=grammar.AFTER_IS),
    "ORDER": Expected(keywords=("BY",)),
    "PARTITION": Expected(keywords=("BY",)),
    "COLLATE": NOTHING,
    "OPERATOR": NOTHING,
    "INTERVAL": NOTHING,
    "DATE": NOTHING,
    "TIMESTAMP": NOTHING,
}


def is_value_expected(before: list[Element]) -> bool:
    """Whether a value can come next, not an operator or another clause."""
    stars = 0
    while stars < len(before) and before[-1 - stars].text == "*":
        stars += 1
    if stars:  # a star is a value in `SELECT *` and `t.*`, and an operator after a value
        return is_value_expected(before[: len(before) - stars]) == (stars % 2 == 0)
    if not before or before[-1].kind == "mark":
        return True
    return before[-1].word in grammar.BEFORE_OPERAND


def value_expected(before: list[Element], after_value: tuple[str, ...] = ()) -> Expected:
    """`before` is the expression up to the cursor, `after_value` what can come after a value."""
    if not before:
        return Expected(VALUES, grammar.OPERANDS)
    last = before[-1]
    if (found := _AFTER.get(last.word or last.text)) is not None:
        return found
    if last.word == "NOT" and len(before) > 1 and not is_value_expected(before[:-1]):
        after_is = before[-2].word == "IS"
        return Expected(keywords=grammar.AFTER_IS_NOT if after_is else grammar.AFTER_NOT)
    if is_value_expected(before):
        firsts = ("WHEN",) if last.word == "CASE" else ()
        compared = compared_column(before)
        return Expected(VALUES, grammar.OPERANDS, compared=compared, first_keywords=firsts)
    if _is_case_open(before):
        return Expected(keywords=(*grammar.IN_CASE, *grammar.OPERATORS))
    return Expected(keywords=after_value or grammar.OPERATORS)


def compared_column(before: list[Element]) -> tuple[str, ...]:
    """The column that the value at the end is compared with; empty if there is none."""
    last = before[-1] if before else None
    if last is None:
        return ()
    if last.text in _COMPARISONS:
        return name_before(before, len(before) - 1)
    if last.word == "FROM" and len(before) > 1 and before[-2].word == "DISTINCT":
        end = len(before) - 2
        while end and before[end - 1].word in {"IS", "NOT"}:
            end -= 1
        return name_before(before, end)
    return ()


def listed_column(before: list[Element]) -> tuple[str, ...]:
    """The column of `column IN` before parentheses."""
    end = len(before)
    if not end or before[-1].word != "IN":
        return ()
    end -= 1
    if end and before[end - 1].word == "NOT":
        end -= 1
    return name_before(before, end)


def name_before(parts: list[Element], end: int) -> tuple[str, ...]:
    """The dotted name that ends before an index."""
    path: list[str] = []
    index = end - 1
    while index >= 0 and parts[index].name:
        path.append(parts[index].name)
        if index < 2 or parts[index - 1].text != ".":
            break
        index -= 2
    return tuple(reversed(path))


def _is_case_open(before: list[Element]) -> bool:
    depth = 0
    for part in before:
        depth += (part.word == "CASE") - (part.word == "END" and depth > 0)
    return depth > 0


def call_name(parts: list[Element], index: int) -> str:
    """The upper-case word before the parentheses at an index, such as a function's name."""
    before = parts[index - 1] if index else None
    return before.text.upper() if before is not None and before.kind in {"word", "name"} else ""


def in_call(name: str, before: list[Element], around: list[Element]) -> Expected:
    """In the parentheses of a function, an operator or a value.

    `before` is what stands in them, `around` what stands before them.
    """
    if (read := _CALLS.get(name)) is not None and (found := read(before)) is not None:
        return found
    after = _AFTER_ARGUMENT
    if any(part.word == "ORDER" for part in before):
        after = (*grammar.SORTS[:4], *grammar.OPERATORS)
    found = value_expected(before, after)
    is_query = name in _QUERY_CALLS
    if not before:
        return _at_start_of_call(name, found, listed_column(around), is_query=is_query)
    if name == "IN" and before[-1].text == ",":
        return Expected(found.offers, found.keywords, compared=listed_column(around))
    return found


def _at_start_of_call(
    name: str, value: Expected, compared: tuple[str, ...], *, is_query: bool
) -> Expected:
    queries = grammar.QUERIES[:2]
    if is_query:
        offers = () if name == "EXISTS" else value.offers
        return Expected(offers, value.keywords, compared=compared, first_keywords=queries)
    firsts = ("DISTINCT",) if name else ()
    return Expected(value.offers, (*firsts, *value.keywords, *queries))


def _in_cast(before: list[Element]) -> Expected | None:
    words = [part.word for part in before]
    if "AS" in words:
        return _TYPES if words[-1] == "AS" else NOTHING
    return value_expected(before, ("AS", *grammar.OPERATORS)) if before else None


def _in_extract(before: list[Element]) -> Expected | None:
    return None if before else Expected(keywords=grammar.EXTRACTED)


def _in_filter(before: list[Element]) -> Expected | None:
    if not before:
        return Expected(keywords=("WHERE",))
    return value_expected(before[1:], grammar.OPERATORS)


def _in_window(before: list[Element]) -> Expected | None:
    last = before[-1].word if before else ""
    if not before:
        return Expected(keywords=grammar.WINDOW_SPEC[:5])
    if last in {"ROWS", "RANGE", "GROUPS", "BETWEEN", "AND"}:
        return Expected(keywords=("BETWEEN", *grammar.WINDOW_SPEC[5:]))
    after = ("ORDER BY", *grammar.SORTS[:4], *grammar.WINDOW_SPEC[2:5], *grammar.OPERATORS)
    return value_expected(before, after)


_QUERY_CALLS = frozenset(("EXISTS", "ANY", "ALL", "SOME", "IN", "ARRAY"))
_AFTER_ARGUMENT = (*grammar.OPERATORS, "ORDER BY", "FROM", "FOR", "AS")
_CALLS: dict[str, Callable[[list[Element]], Expected | None]] = {
    "CAST": _in_cast,
    "TREAT": _in_cast,
    "OVER": _in_window,
    "WINDOW": _in_window,
    "FILTER": _in_filter,
    "EXTRACT": _in_extract,
}
