"""`Column`, and the columns of functions as PostgreSQL formats their signatures."""

import re
from dataclasses import dataclass


@dataclass(slots=True)
class Column:
    """`type` is empty if the text does not say it."""

    name: str
    type: str = ""
    comment: str | None = None


def function_columns(arguments: str, result: str) -> list[Column]:
    """The columns of TABLE(...) or of the OUT arguments; empty for a function without them."""
    return _table_result(result) or _out_columns(arguments)


_TABLE_RESULT = re.compile(r"TABLE\((.*)\)", re.DOTALL)
_COLUMN = re.compile(r'\s*("(?:[^"]|"")+"|\S+)\s+(.+)', re.DOTALL)
_OUT = re.compile(r"(?:OUT|INOUT)\s+(.*)", re.DOTALL)


def _table_result(result: str) -> list[Column]:
    """The columns of a function that returns TABLE(...)."""
    found = _TABLE_RESULT.fullmatch(result)
    return _columns_of(split_arguments(found.group(1))) if found else []


def _out_columns(arguments: str) -> list[Column]:
    found = [_OUT.match(argument.strip()) for argument in split_arguments(arguments)]
    return _columns_of([each.group(1) for each in found if each])


def _columns_of(texts: list[str]) -> list[Column]:
    found = [_COLUMN.match(text) for text in texts]
    return [Column(_unquoted(each.group(1)), each.group(2)) for each in found if each is not None]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def split_arguments(arguments: str) -> list[str]:
    """The arguments of a function as PostgreSQL formats them, between their commas."""
    items, depth, start, quote = [], 0, 0, ""
    for index, letter in enumerate(arguments):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "," and not depth:
            items.append(arguments[start:index])
            start = index + 1
        else:
            depth += (letter in "([") - (letter in ")]")
    return [*items, arguments[start:]] if arguments else []
