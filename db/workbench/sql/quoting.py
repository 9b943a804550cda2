"""Names and values in generated SQL, which is also shown to the user."""

import re

from db.errors import BadInput

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def require_name(field: str | None, name: str) -> str:
    """Returns the name, or raises BadInput if nothing in a database can have it."""
    if not name or "\0" in name:
        raise BadInput(
            f"{name[:63]!r} is not the name of a schema, table or column.",
            hint="Pass the name as it is in the catalogue, without quotes.",
            field=field,
        )
    return name


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def quote_if_needed(name: str, reserved: frozenset[str]) -> str:
    """Follows PostgreSQL's `quote_ident`. `reserved` has all keywords that are not unreserved."""
    return name if _PLAIN.fullmatch(name) and name not in reserved else quote_name(name)


def quote_literal(text: str) -> str:
    """A literal that means the same whatever `standard_conforming_strings` is."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return "E" + quoted if "\\" in text else quoted
