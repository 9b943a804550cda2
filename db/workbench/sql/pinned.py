"""`pinned`, for statements of ours on a database of which others made a part."""

import re

_OPERATOR = re.compile(r"(?<= )(=|<>|>=|>|-)(?=\s)")
_CAST = re.compile(r"::(?=[a-z])")


def pinned(sql: str) -> str:
    """Takes operators and the types of casts from PostgreSQL's own schema, as written.

    The owner of a database can set a search path in which others hide them, and they would run with
    the rights of whoever connects. IN, USING, BETWEEN and the short CASE cannot be pinned: `sql`
    has none, and it names tables and functions with their schema.
    """
    return _CAST.sub("::pg_catalog.", _OPERATOR.sub(r"OPERATOR(pg_catalog.\1)", sql))
