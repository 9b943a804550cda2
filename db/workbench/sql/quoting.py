"""Quotes names and values in generated SQL, which is also shown to the user."""

import re
from collections.abc import Container

_UNQUOTED = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)


def quote_if_needed(name: str, reserved: Container[str]) -> str:
    """As `quote_ident` of PostgreSQL. `reserved` are the keywords that are quoted."""
    is_plain = _UNQUOTED.fullmatch(name) is not None and name not in reserved
    return name if is_plain else quote_name(name)


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """A literal that means the same whatever `standard_conforming_strings` is."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return "E" + quoted if "\\" in text else quoted
