"""What completion and search return. They are imported at the start, what finds it at first use."""

from enum import StrEnum
from typing import NamedTuple

MAX_COMPLETIONS = 200
MAX_SEARCH_RESULTS = 200


class CompletionKind(StrEnum):
    COLUMN = "COLUMN"
    ALIAS = "ALIAS"
    COMMON_TABLE = "COMMON_TABLE"
    TABLE = "TABLE"
    VIEW = "VIEW"
    SEQUENCE = "SEQUENCE"
    FUNCTION = "FUNCTION"
    PROCEDURE = "PROCEDURE"
    TYPE = "TYPE"
    ENUM_LABEL = "ENUM_LABEL"
    SCHEMA = "SCHEMA"
    SETTING = "SETTING"
    KEYWORD = "KEYWORD"


class Completion(NamedTuple):
    """`replace_start` and `replace_end` count characters of the text from 0."""

    kind: CompletionKind
    label: str
    insert_text: str
    detail: str | None
    replace_start: int
    replace_end: int


class SearchKind(StrEnum):
    SCHEMA = "SCHEMA"
    TABLE = "TABLE"
    VIEW = "VIEW"
    MATERIALIZED_VIEW = "MATERIALIZED_VIEW"
    FOREIGN_TABLE = "FOREIGN_TABLE"
    COLUMN = "COLUMN"
    FUNCTION = "FUNCTION"
    PROCEDURE = "PROCEDURE"
    AGGREGATE = "AGGREGATE"
    TYPE = "TYPE"
    SEQUENCE = "SEQUENCE"


class SearchResult(NamedTuple):
    """`parent` is the relation of a column; `detail` a type, a signature or labels.

    `key` has the names that identify the object in its database, from the outermost on.
    """

    kind: SearchKind
    schema_name: str
    name: str
    parent: str | None = None
    detail: str | None = None
    comment: str | None = None
    key: tuple[str, ...] = ()
