"""What can stand at the cursor of a command that is no query: DDL, COPY, GRANT, SET and others.

The statement up to the cursor becomes a line of words: keywords in upper case, `n` for a dotted
name, `()` for parentheses that are closed before the cursor, `(` for those around it, `s` for a
literal. The first rule whose pattern matches the end of the line decides.
"""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from db.workbench.completion.expectations import grammar
from db.workbench.completion.expectations.expected import NOTHING, TABLES, Expected, Offer
from db.workbench.completion.expectations.values import is_value_expected
from db.workbench.completion.statement.groups import Element, Group
from db.workbench.completion.statement.parts import word_set
from db.workbench.completion.statement.queries import Source, dotted_name, is_cursor, split_list

MAX_WORDS = 24
"""The words that are compared of each level: from its start, and up to the cursor."""
MAX_LEVELS = 3
"""The statement and the parentheses around the cursor. The patterns take quadratic time."""


_KEYWORDS = word_set(
    """ADD AFTER ALL ALTER ALWAYS ANALYZE AS ATTACH BEFORE BEGIN BY CALL CASCADE CHECK CLUSTER
    COLUMN COMMENT COMMIT CONCURRENTLY CONSTRAINT COPY CREATE CURRENT CURSOR DATA DATABASE
    DATABASES DEFAULT DELETE DELIMITER DETACH DISABLE DISCARD DO DOMAIN DROP EACH ENABLE ENUM
    EXCLUDE EXECUTE EXISTS EXPLAIN EXTENSION FETCH FOR FOREIGN FORMAT FROM FULL FUNCTION
    FUNCTIONS GENERATED GRANT HEADER IDENTITY IF IMPORT IN INCLUDE INDEX INHERITS INSERT
    INSTEAD INTO IS ISOLATION KEY LANGUAGE LEVEL LIKE LOCAL LOCK MATERIALIZED MODE MOVE NOT
    NULL NULLS OF ON ONLY OPTION OR OWNED OWNER PARTITION PERFORM POLICY PREPARE PRIMARY
    PRIVILEGES PROCEDURE PROCEDURES PROGRAM RANGE REFERENCES REFRESH REINDEX RELEASE RENAME
    REPLACE RESET RESTRICT RETURNS REVOKE ROLE ROLLBACK ROUTINE ROUTINES ROW ROWS SCHEMA
    SCHEMAS SELECT SEQUENCE SEQUENCES SESSION SET SETOF SHOW STDIN STDOUT SYSTEM TABLE TABLES
    TABLESPACE TEMP TEMPORARY TIME TO TRANSACTION TRIGGER TRUNCATE TYPE UNIQUE UNLOGGED
    UPDATE USAGE USER USING VACUUM VALID VALIDATE VALUE VERBOSE VIEW WHEN WHERE WITH ZONE"""
)


class Line(NamedTuple):
    """The words up to the cursor, and the parts behind them for the rules that need a name."""

    words: str
    root: Group
    here: Group
    before: list[Element]


Found = Expected | Callable[[Line], Expected]


def expect_in_command(here: Group, position: int) -> Expected:
    before = here.parts[:position]
    if here.parent is None and not before:
        return Expected(keywords=grammar.STATEMENTS)
    root = here
    lines = [_words(before)]
    while root.parent is not None:
        lines.append(f"{_words(root.parent.parts[: root.index])} {root.mark}")
        root = root.parent
    outermost = lines[MAX_LEVELS - 1 :][-1:]
    words = " ".join((*outermost, *reversed(lines[: MAX_LEVELS - 1]))).strip()
    line = Line(words, root, here, before)
    for pattern, found in compiled_rules():
        if pattern.search(line.words):
            return found(line) if callable(found) else found
    return NOTHING


@functools.cache
def compiled_rules() -> list[tuple[re.Pattern[str], Found]]:
    """Takes 20 ms, which is not spent at each start of a server."""
    return [(re.compile(f"(?:^| )(?:{pattern})$"), found) for pattern, found in _RULES]


def _words(parts: list[Element]) -> str:
    if len(parts) > 2 * MAX_WORDS:
        parts = [*parts[:MAX_WORDS], *parts[-MAX_WORDS:]]
    words: list[str] = []
    index = 0
    while index < len(parts):
        part = parts[index]
        follows_dot = index + 1 < len(parts) and parts[index + 1].text == "."
        index += 1
        if isinstance(part, Group):
            words.append("()")
        elif part.word in _KEYWORDS and not follows_dot:
            words.append(part.word)
        elif part.name:
            _, index = dotted_name(parts, index - 1)
            words.append("n")
        else:
            words.append("s" if part.kind in {"string", "number"} else part.text[:2])
    return " ".join(words)


def _table_columns(line: Line) -> Expected:
    """The columns of the table that the command names, without those that the list has."""
    last = line.before[-1] if line.before else None
    if last is not None and last.text != "," and last.kind != "word":
        return NOTHING
    taken = frozenset(item[0].name for item in split_list(line.before) if item)
    return Expected((Offer.TARGET_COLUMNS,), target=_table(line), taken=taken)


def _indexed(line: Line) -> Expected:
    if line.before and line.before[-1].text != ",":
        return Expected(keywords=("ASC", "DESC", "NULLS FIRST", "NULLS LAST", "COLLATE"))
    found = _table_columns(line)
    return Expected((*found.offers, Offer.FUNCTIONS), target=found.target, taken=found.taken)


def _condition(line: Line) -> Expected:
    """An expression over the columns of the table."""
    if not is_value_expected(line.before):
        return Expected(keywords=grammar.OPERATORS)
    offers = (Offer.TARGET_COLUMNS, Offer.FUNCTIONS)
    return Expected(offers, grammar.OPERANDS, target=_table(line))


def _table(line: Line) -> Source | None:
    """The table that a list of columns or a condition belongs to."""
    parts = line.root.parts
    limit = len(parts)
    group = line.here
    if group is not line.root:
        while group.parent is not None and group.parent is not line.root:
            inner = group.parent.parts[: group.index]
            if len(inner) > 1 and (found := _named_after(inner, len(inner), ("REFERENCES",))):
                return found
            group = group.parent
        limit = group.index
    if found := _named_after(parts, limit, ("REFERENCES",), only_last=True):
        return found
    before = _named_after(
        parts, limit, ("ON", "TABLE", "COPY", "VIEW", "VACUUM", "ANALYZE", "FROM")
    )
    return before or _named_after(parts, len(parts), ("ON",))


def _named_after(
    parts: list[Element], limit: int, words: tuple[str, ...], *, only_last: bool = False
) -> Source | None:
    """The name after the last of the words; with `only_last` only if the limit follows it."""
    for index in range(limit - 1, -1, -1):
        if parts[index].word in words:
            start = index + 1
            while start < len(parts) and parts[start].word in _BEFORE_NAME:
                start += 1
            path, end = dotted_name(parts, start)
            if path and (end == limit or not only_last) and not is_cursor(parts[end - 1]):
                return Source(path)
    return None


_BEFORE_NAME = frozenset(("IF", "NOT", "EXISTS", "ONLY", "TABLE", "FULL", "VERBOSE", "ANALYZE"))
_TYPES = Expected((Offer.TYPES, Offer.SCHEMAS))
_SCHEMAS = Expected((Offer.SCHEMAS,))
_ROUTINES = Expected((Offer.ROUTINES, Offer.SCHEMAS))
_SEQUENCES = Expected((Offer.SEQUENCES, Offer.SCHEMAS))
_CONSTRAINTS = ("NOT NULL", "NULL", "DEFAULT", "PRIMARY KEY", "UNIQUE", "REFERENCES", "CHECK",
                "GENERATED ALWAYS AS IDENTITY", "GENERATED BY DEFAULT AS IDENTITY",
                "GENERATED ALWAYS AS", "COLLATE", "CONSTRAINT")  # fmt: skip
_TABLE_CONSTRAINTS = ("PRIMARY KEY", "FOREIGN KEY", "UNIQUE", "CHECK", "CONSTRAINT", "EXCLUDE",
                      "LIKE")  # fmt: skip
_ALTER_TABLE = ("ADD COLUMN", "DROP COLUMN", "ALTER COLUMN", "RENAME COLUMN", "RENAME TO",
                "ADD CONSTRAINT", "DROP CONSTRAINT", "ADD PRIMARY KEY", "ADD FOREIGN KEY",
                "ADD UNIQUE", "ADD CHECK", "RENAME CONSTRAINT", "VALIDATE CONSTRAINT", "OWNER TO",
                "SET SCHEMA", "ENABLE ROW LEVEL SECURITY", "DISABLE ROW LEVEL SECURITY",
                "ATTACH PARTITION", "DETACH PARTITION", "ENABLE TRIGGER", "DISABLE TRIGGER",
                "SET TABLESPACE", "CLUSTER ON", "SET LOGGED", "SET UNLOGGED", "INHERIT",
                "NO INHERIT", "REPLICA IDENTITY")  # fmt: skip
_OBJECTS = ("TABLE", "INDEX", "VIEW", "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE", "SCHEMA",
            "SEQUENCE", "TYPE", "DOMAIN", "TRIGGER", "POLICY", "EXTENSION", "ROLE", "DATABASE",
            "FOREIGN TABLE", "AGGREGATE", "ROUTINE", "RULE", "SERVER", "PUBLICATION",
            "SUBSCRIPTION", "COLLATION", "CAST", "OPERATOR", "STATISTICS", "EVENT TRIGGER",
            "FOREIGN DATA WRAPPER", "TABLESPACE", "USER", "LANGUAGE")  # fmt: skip
_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "ALL", "ALL PRIVILEGES", "USAGE", "EXECUTE",
               "TRUNCATE", "REFERENCES", "TRIGGER", "CREATE", "CONNECT", "TEMPORARY", "MAINTAIN",
               "SET")  # fmt: skip
_GRANTED = ("TABLE", "ALL TABLES IN SCHEMA", "SCHEMA", "SEQUENCE", "ALL SEQUENCES IN SCHEMA",
            "FUNCTION", "ALL FUNCTIONS IN SCHEMA", "PROCEDURE", "ROUTINE", "DATABASE", "TYPE",
            "DOMAIN", "LANGUAGE", "FOREIGN SERVER", "PARAMETER")  # fmt: skip


def _words_only(*keywords: str) -> Expected:
    return Expected(keywords=keywords)


_IF = r"(?: IF(?: NOT)? EXISTS)?"
_NAMES = r"(?: n ,)*"
_OPT_CONCURRENTLY = r"(?: CONCURRENTLY)?"
_RULES: tuple[tuple[str, Found], ...] = (
    # SET, SHOW, RESET
    (r"^(?:SET|RESET)", Expected((Offer.SETTINGS,), grammar.SET_FORMS)),
    (r"^SET (?:LOCAL|SESSION)", Expected((Offer.SETTINGS,), ("TIME ZONE",))),
    (r"^SHOW", Expected((Offer.SETTINGS,), ("ALL",))),
    (r"^SET(?: LOCAL| SESSION)? n", _words_only("TO")),
    (r"^SET(?: LOCAL| SESSION)? n (?:TO|=)(?: n ,)*",
     Expected((Offer.SCHEMAS,), ("DEFAULT",))),
    (r"^SET(?: SESSION)? TRANSACTION",
     _words_only("ISOLATION LEVEL", "READ ONLY", "READ WRITE")),
    (r"ISOLATION LEVEL", _words_only("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")),
    (r"^(?:BEGIN|START)(?: TRANSACTION)?",
     _words_only("TRANSACTION", "ISOLATION LEVEL", "READ ONLY", "READ WRITE")),
    (r"^EXPLAIN(?: ANALYZE| VERBOSE| \(\))*",
     Expected(keywords=("ANALYZE", "VERBOSE", *grammar.DATA_STATEMENTS, "EXECUTE"))),
    (r"^EXPLAIN \((?: .* ,)?",
     _words_only("ANALYZE", "BUFFERS", "VERBOSE", "COSTS", "TIMING", "SETTINGS", "WAL",
                 "SUMMARY", "FORMAT", "GENERIC_PLAN", "MEMORY", "SERIALIZE")),
    (r"^CALL", Expected((Offer.PROCEDURES, Offer.SCHEMAS))),
    # tables that a command works on
    (r"^TRUNCATE(?: TABLE)?(?: ONLY)?" + _NAMES, Expected(TABLES, ("TABLE", "ONLY"))),
    (r"^TRUNCATE(?: TABLE)?(?: ONLY)? .*n",
     _words_only("CASCADE", "RESTART IDENTITY", "RESTRICT")),
    (r"^(?:VACUUM|ANALYZE)(?: FULL| VERBOSE| ANALYZE| n(?= VERBOSE)| \(\))*" + _NAMES,
     Expected(TABLES, ("FULL", "VERBOSE", "ANALYZE"))),
    (r"^(?:VACUUM|ANALYZE) .*n \((?: n ,)*", _table_columns),
    (r"^(?:LOCK(?: TABLE)?(?: ONLY)?|CLUSTER(?: VERBOSE)?)" + _NAMES,
     Expected(TABLES, ("TABLE",))),
    (r"^LOCK .*n", _words_only("IN ACCESS EXCLUSIVE MODE", "IN EXCLUSIVE MODE",
                               "IN ROW EXCLUSIVE MODE", "IN SHARE MODE", "NOWAIT")),
    (r"^REINDEX", _words_only("TABLE", "INDEX", "SCHEMA", "DATABASE", "SYSTEM")),
    (r"^REINDEX TABLE" + _OPT_CONCURRENTLY, Expected(TABLES, ("CONCURRENTLY",))),
    (r"^REINDEX SCHEMA" + _OPT_CONCURRENTLY, _SCHEMAS),
    (r"^REFRESH", _words_only("MATERIALIZED VIEW")),
    (r"^REFRESH MATERIALIZED VIEW" + _OPT_CONCURRENTLY,
     Expected((Offer.MATERIALIZED_VIEWS, Offer.SCHEMAS), ("CONCURRENTLY",))),
    (r"^REFRESH MATERIALIZED VIEW .*n", _words_only("WITH DATA", "WITH NO DATA")),
    # COPY
    (r"^COPY", Expected(TABLES)),
    (r"^COPY n \((?: n ,)*", _table_columns),
    (r"^COPY (?:n(?: \(\))?|\(\))", _words_only("FROM", "TO", "FROM STDIN", "TO STDOUT")),
    (r"^COPY .*\b(?:FROM|TO)", _words_only("STDIN", "STDOUT", "PROGRAM")),
    (r"^COPY .*\b(?:STDIN|STDOUT|s)", _words_only("WITH", "WHERE")),
    (r"^COPY .*\((?: .* ,)?",
     _words_only("FORMAT csv", "HEADER", "DELIMITER", "NULL", "QUOTE", "ESCAPE", "ENCODING",
                 "FORCE_QUOTE", "ON_ERROR")),
    # GRANT and REVOKE
    (r"^(?:GRANT|REVOKE)(?: \w+ ,)*", Expected(keywords=_PRIVILEGES)),
    (r"^(?:GRANT|REVOKE) \w+(?: PRIVILEGES)? \((?: n ,)*", _table_columns),
    (r"^(?:GRANT|REVOKE) .*\bON(?: TABLE)?" + _NAMES, Expected(TABLES, _GRANTED)),
    (r"^(?:GRANT|REVOKE) .*\bON SEQUENCE" + _NAMES, _SEQUENCES),
    (r"^(?:GRANT|REVOKE) .*\b(?:ON|IN) SCHEMA" + _NAMES, _SCHEMAS),
    (r"^(?:GRANT|REVOKE) .*\bON (?:FUNCTION|PROCEDURE|ROUTINE)", _ROUTINES),
    (r"^(?:GRANT|REVOKE) .*\bON (?:TYPE|DOMAIN)", _TYPES),
    (r"^GRANT .*\bON .*n", _words_only("TO")),
    (r"^REVOKE .*\bON .*n", _words_only("FROM")),
    (r"^(?:GRANT|REVOKE) .*\b(?:TO|FROM)",
     _words_only("PUBLIC", "CURRENT_USER", "SESSION_USER")),
    (r"^(?:GRANT|REVOKE) [A-Z]+(?: PRIVILEGES| \(\))*", _words_only("ON", "PRIVILEGES")),
    # COMMENT ON
    (r"^COMMENT", _words_only("ON")),
    (r"^COMMENT ON", _words_only("TABLE", "COLUMN", *_OBJECTS[1:], "CONSTRAINT")),
    (r"^COMMENT ON (?:TABLE|COLUMN|VIEW)", Expected(TABLES)),
    (r"^COMMENT ON .*n(?: \(\))?", _words_only("IS")),
    # what the names of objects follow
    (r"(?:DROP|ALTER|ON) (?:FOREIGN )?TABLE" + _IF + "(?: ONLY)?" + _NAMES,
     Expected(TABLES, ("IF EXISTS", "ONLY"))),
    (r"(?:DROP|ALTER|ON|REPLACE) VIEW" + _IF + _NAMES,
     Expected((Offer.VIEWS, Offer.SCHEMAS), ("IF EXISTS",))),
    (r"(?:DROP|ALTER|ON) MATERIALIZED VIEW" + _IF + _NAMES,
     Expected((Offer.MATERIALIZED_VIEWS, Offer.SCHEMAS), ("IF EXISTS",))),
    (r"(?:DROP|ALTER|ON) SEQUENCE" + _IF + _NAMES,
     Expected((Offer.SEQUENCES, Offer.SCHEMAS), ("IF EXISTS",))),
    (r"(?:DROP|ALTER|ON) (?:TYPE|DOMAIN)" + _IF + _NAMES,
     Expected((Offer.TYPES, Offer.SCHEMAS), ("IF EXISTS",))),
    (r"(?:DROP|ALTER|ON) SCHEMA" + _IF + _NAMES, Expected((Offer.SCHEMAS,), ("IF EXISTS",))),
    (r"(?:DROP|ALTER|ON) (?:FUNCTION|PROCEDURE|ROUTINE)" + _IF + _NAMES,
     Expected((Offer.ROUTINES, Offer.SCHEMAS), ("IF EXISTS",))),
    (r"^DROP (?:TRIGGER|POLICY) .*n", _words_only("ON")),
    (r"^DROP .*n(?: \(\))?", _words_only("CASCADE", "RESTRICT")),
    (r"^DROP", Expected(keywords=_OBJECTS)),
    # ALTER
    (r"^ALTER", Expected(keywords=_OBJECTS)),
    (r"^ALTER TABLE .*n (?:.* , )?(?:DROP|ALTER|RENAME)(?: COLUMN)?" + _IF, _table_columns),
    (r"^ALTER TABLE .*n (?:.* , )?ADD", Expected(keywords=("COLUMN", *_TABLE_CONSTRAINTS))),
    (r"^ALTER TABLE .*\bALTER(?: COLUMN)? n",
     _words_only("TYPE", "SET NOT NULL", "DROP NOT NULL", "SET DEFAULT", "DROP DEFAULT",
                 "SET DATA TYPE", "SET STATISTICS", "ADD GENERATED", "DROP IDENTITY")),
    (r"^ALTER TABLE .*\b(?:ALTER(?: COLUMN)? n (?:SET DATA )?TYPE)", _TYPES),
    (r"^ALTER TABLE .*\bADD(?: COLUMN)?" + _IF + " n", _TYPES),
    (r"^ALTER TABLE .*\bADD(?: COLUMN)?" + _IF + " n n", Expected(keywords=_CONSTRAINTS)),
    (r"^ALTER TABLE .*\bRENAME(?: COLUMN)? n", _words_only("TO")),
    (r"^ALTER TABLE .*\b(?:DROP|ALTER)(?: COLUMN)?" + _IF + " n", _words_only("CASCADE")),
    (r"^ALTER TABLE .*\b(?:ATTACH|DETACH) PARTITION", Expected(TABLES)),
    (r"^ALTER TABLE(?: IF EXISTS)?(?: ONLY)? n", Expected(keywords=_ALTER_TABLE)),
    (r"SET SCHEMA", _SCHEMAS),
    (r"^ALTER TYPE n", _words_only("ADD VALUE", "RENAME VALUE", "RENAME TO", "ADD ATTRIBUTE",
                                   "OWNER TO", "SET SCHEMA")),
    # keys, indexes, conditions
    (r"REFERENCES", Expected(TABLES)),
    (r"REFERENCES n \((?: n ,)*", _table_columns),
    (r"REFERENCES n(?: \(\))?", _words_only("ON DELETE CASCADE", "ON DELETE SET NULL",
                                            "ON UPDATE CASCADE", "DEFERRABLE")),
    (r"^ALTER TABLE .*\b(?:PRIMARY KEY|FOREIGN KEY|UNIQUE) \((?: n ,)*",
     _table_columns),
    (r"^ALTER TABLE .*\bCHECK \((?: .*)?", _condition),
    (r"^CREATE(?: UNIQUE)? INDEX .*\bON(?: ONLY)?", Expected(TABLES)),
    (r"^CREATE(?: UNIQUE)? INDEX .*\bON(?: ONLY)? n", _words_only("USING")),
    (r"^CREATE(?: UNIQUE)? INDEX .*\bON(?: ONLY)? n USING",
     _words_only("btree", "gin", "gist", "brin", "hash", "spgist")),
    (r"^CREATE(?: UNIQUE)? INDEX .*\bINCLUDE \((?: n ,)*", _table_columns),
    (r"^CREATE(?: UNIQUE)? INDEX .*\bWHERE.*", _condition),
    (r"^CREATE(?: UNIQUE)? INDEX .*\bON(?: ONLY)? n(?: USING n)? \((?: .*)?", _indexed),
    (r"^CREATE(?: UNIQUE)? INDEX .*\(\)", _words_only("WHERE", "INCLUDE", "WITH", "TABLESPACE",
                                                     "NULLS NOT DISTINCT")),
    (r"^CREATE(?: UNIQUE)? INDEX", _words_only("ON", "CONCURRENTLY", "IF NOT EXISTS")),
    (r"^CREATE(?: UNIQUE)? INDEX(?: CONCURRENTLY)?(?: IF NOT EXISTS)? n", _words_only("ON")),
    # triggers and policies
    (r"^CREATE .*\bTRIGGER n", _words_only("BEFORE", "AFTER", "INSTEAD OF")),
    (r"^CREATE .*\bTRIGGER .*\b(?:BEFORE|AFTER|OF|OR)",
     _words_only("INSERT", "UPDATE", "DELETE", "TRUNCATE", "UPDATE OF")),
    (r"^CREATE .*\bTRIGGER .*\bON", Expected(TABLES)),
    (r"^CREATE .*\bTRIGGER .*\bEXECUTE (?:FUNCTION|PROCEDURE)",
     Expected((Offer.TRIGGER_FUNCTIONS, Offer.SCHEMAS))),
    (r"^CREATE .*\bTRIGGER .*\bEXECUTE", _words_only("FUNCTION")),
    (r"^CREATE .*\bTRIGGER .*\bON n(?: FOR EACH ROW)?",
     _words_only("FOR EACH ROW", "EXECUTE FUNCTION", "FOR EACH STATEMENT", "WHEN")),
    (r"^CREATE .*\bTRIGGER .*\b(?:INSERT|UPDATE|DELETE|TRUNCATE)", _words_only("ON", "OR")),
    (r"^(?:CREATE|ALTER) POLICY .*\b(?:USING|CHECK) \((?: .*)?", _condition),
    (r"^(?:CREATE|ALTER|DROP) (?:POLICY|TRIGGER)(?: IF EXISTS)? n ON", Expected(TABLES)),
    (r"^(?:CREATE|ALTER) POLICY n", _words_only("ON")),
    (r"^(?:CREATE|ALTER) POLICY .*n", _words_only("FOR", "TO", "USING", "WITH CHECK")),
    # CREATE TABLE and types
    (r"^CREATE .*\bTABLE .*\bPARTITION OF", Expected(TABLES)),
    (r"^CREATE .*\bTABLE .*\bINHERITS \(" + _NAMES, Expected(TABLES)),
    (r"^CREATE .*\bTABLE .*\((?: .*)? LIKE", Expected(TABLES)),
    (r"^CREATE .*\bTABLE .*\((?:.* ,)?", Expected(keywords=_TABLE_CONSTRAINTS)),
    (r"^CREATE .*\bTABLE .*\((?:.* ,)? n", _TYPES),
    (r"^CREATE .*\bTABLE .*\((?:.* ,)? n n(?: \(\))?(?: [A-Z]+| s)*",
     Expected(keywords=_CONSTRAINTS)),
    (r"^CREATE .*\bTABLE .*n", _words_only("AS", "PARTITION OF", "INHERITS")),
    (r"^CREATE .*\bTABLE .*\(\)",
     _words_only("PARTITION BY", "INHERITS", "WITH", "TABLESPACE")),
    (r"^CREATE DOMAIN n AS", _TYPES),
    (r"^CREATE TYPE n", _words_only("AS ENUM", "AS", "AS RANGE")),
    (r"^CREATE TYPE n AS \((?:.* ,)? n", _TYPES),
    # routines
    (r"^CREATE .*\b(?:FUNCTION|PROCEDURE) n \((?:.* ,)?(?: n)+", _TYPES),
    (r"^CREATE .*\bRETURNS(?: SETOF)?", Expected((Offer.TYPES, Offer.RELATIONS, Offer.SCHEMAS),
                                              ("TABLE", "SETOF", "TRIGGER", "VOID"))),
    (r"^CREATE .*\bFUNCTION n \(\)", _words_only("RETURNS")),
    (r"^CREATE .*\bLANGUAGE", _words_only("plpgsql", "sql")),
    (r"^CREATE .*\b(?:FUNCTION|PROCEDURE) n \(\).*",
     _words_only("LANGUAGE", "AS", "STABLE", "IMMUTABLE", "STRICT", "SECURITY DEFINER",
                 "PARALLEL SAFE", "VOLATILE", "BEGIN ATOMIC", "RETURN")),
    (r"^CREATE .*\bVIEW .*n(?: \(\))?", _words_only("AS", "WITH")),
    (r"^CREATE .*\b(?:VIEW|TABLE) .*\bAS|^PREPARE n(?: \(\))? AS|^DECLARE n.* FOR",
     Expected(keywords=grammar.DATA_STATEMENTS)),
    (r"OWNED BY", Expected(TABLES)),
    (r"^CREATE OR REPLACE", _words_only("FUNCTION", "VIEW", "PROCEDURE", "TRIGGER", "RULE")),
    (r"^CREATE", Expected(keywords=(*_OBJECTS, "OR REPLACE", "UNIQUE INDEX", "TEMP TABLE",
                                    "UNLOGGED TABLE"))),
    (r"^(?:COMMIT|ROLLBACK|END)", _words_only("AND CHAIN", "TO SAVEPOINT", "PREPARED")),
)  # fmt: skip
