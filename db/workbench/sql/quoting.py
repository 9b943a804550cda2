"""Quotes names and values in generated SQL, which is also shown to the user."""

import re

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_if_needed(name: str, reserved: frozenset[str]) -> str:
    """Follows PostgreSQL's `quote_ident`. `reserved` has all keywords that are not unreserved."""
    return name if _PLAIN.fullmatch(name) and name not in reserved else quote_name(name)


def quote_literal(text: str) -> str:
    """A literal that means the same whatever `standard_conforming_strings` is."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return "E" + quoted if "\\" in text else quoted
