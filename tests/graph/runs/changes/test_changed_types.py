"""Values of every type survive the way from a result into `changeRows` and back."""

import pytest

from tests.fixtures.changes import Grid, delete, insert, update

VALUES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "0"],
    "int4": ["2147483647", "-7"],
    "int8": ["9223372036854775807", "-9223372036854775808"],
    "oid": ["4294967295"],
    "float4": ["'0.1'", "'NaN'", "'-Infinity'", "'-0'", "'0'", "'3.4028235e38'", "'1e-45'"],
    "float8": ["'0.1'", "'NaN'", "'Infinity'", "'-0'", "'0'", "'1e300'", "'5e-324'", "'1e16'"],
    "numeric": ["'1.0'", "'1.00'", "'NaN'", "'-0.000'", "'1e40'", "'0.1e-30'"],
    "numeric(6,3)": ["'1.5'"],
    "money": ["'12.30'"],
    "text": ["''", "'a''b\\c'", "E'two\\nlines\\t'", "'NULL'", "'ä€😀'", "' '"],
    "varchar(5)": ["'ab   '", "''"],
    "char(5)": ["'ab'", "''"],
    '"char"': ["'a'", "''", "'\\377'"],
    "name": ["'a name'"],
    "bytea": ["'\\x00ff5c27'", "''"],
    "date": ["'infinity'", "'0044-03-15 BC'", "'2026-02-28'"],
    "time": ["'23:59:59.999999'", "'24:00:00'"],
    "timetz": ["'23:59:59.5+05:30'"],
    "timestamp": ["'-infinity'", "'0001-01-01 00:00:00.000001 BC'", "'294276-12-31 23:59:59'"],
    "timestamptz": ["'infinity'", "'4713-01-01 00:00:00+00 BC'", "'1883-11-18 12:00:00+00'"],
    "interval": ["'1 year -2 mons 3 days -04:05:06.7'", "'0'"],
    "uuid": ["'01A2F8B0-0000-7000-8000-00000000000a'"],
    "json": ['\'{"a": 1,  "a": [1.0, null]}\'', "'null'", "'\"x\\\\u00e4\"'"],
    "jsonb": ['\'{"b": 1.50, "a": "\\\\\\\\"}\'', "'null'"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "xml": [
        '\'<?xml version="1.0" encoding="UTF-8"?><a b="1">&amp; ä</a>\'',
        "'<a/>'",
        "XMLPARSE(CONTENT '')",
    ],
    "point": ["'(1.5,-2)'", "'(NaN,0)'"],
    "line": ["'{1,-1,0}'"],
    "lseg": ["'[(0,0),(1,1)]'"],
    "box": ["'(1,1),(0,0)'"],
    "path": ["'((0,0),(1,1))'", "'[(0,0),(1,1)]'"],
    "polygon": ["'((0,0),(1,1),(1,0))'"],
    "circle": ["'<(0,0),2.5>'"],
    "inet": ["'10.0.0.1'", "'10.0.0.1/8'", "'::1/128'"],
    "cidr": ["'10.0.0.0/8'", "'10.0.0.1/32'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "bit(4)": ["'1010'"],
    "varbit": ["'10101'", "''"],
    "tsvector": ["$$'a':1A,2 'b''s':3$$", "''"],
    "tsquery": ["$$'a' & !'b'$$", "''"],
    "int4range": ["'[1,5)'", "'empty'", "'(,)'"],
    "numrange": ["'[1.0,1.50]'"],
    "tstzrange": ["'[2026-01-01 00:00:00+00,)'"],
    "int8multirange": ["'{[1,3),[5,9)}'", "'{}'"],
    "pg_lsn": ["'16/B374D848'"],
    "pg_snapshot": ["'10:20:10,14,15'"],
    "xid8": ["'18446744073709551615'"],
    "tid": ["'(0,1)'"],
    "xid": ["'7'"],
    "cid": ["'7'"],
    "regclass": ["'pg_class'"],
    "regtype": ["'int4'"],
    "regproc": ["'now'"],
    "regrole": ["'ada'"],
    "int2vector": ["'1 2 3'"],
    "oidvector": ["'1 2'"],
    "refcursor": ["'c'"],
    "aclitem": ["'ada=r/ada'"],
    "int4[]": ["'{1,NULL,3}'", "'{}'", "'[0:1]={1,2}'", "'{{1,2},{3,4}}'"],
    "text[]": ["ARRAY['a,b', 'NULL', NULL, '\"\\', '']"],
    "char(3)[]": ["'{a,bcd}'"],
    "float8[]": ["'{NaN,-0,0.1}'"],
    "json[]": ["ARRAY['{\"a\": 1}', 'null']::json[]"],
    "edited_mood": ["'so ''so''; \"\\'"],
    "edited_small": ["7"],
    "edited_ratio": ["'0.25'", "'-0'"],
    "edited_yes": ["true"],
    "edited_pair": [
        "ROW(1, 'a,\"b\\')::edited_pair",
        "ROW(NULL, NULL)::edited_pair",
        "ROW(NULL, '')::edited_pair",
    ],
    "edited_pair[]": ["ARRAY[ROW(1, 'x')::edited_pair, NULL]"],
    "edited_some_pair": ["ROW(1, 'a')::edited_pair"],
}
"""Types, and SQL of values."""
EXEMPT = {"gtsvector", "pg_node_tree", "pg_ndistinct", "pg_dependencies", "pg_mcv_list"} | {
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
    "txid_snapshot",
}
"""Types of the catalogue without an input, and the old name of pg_snapshot."""
SETUP = [
    "DROP TABLE IF EXISTS every CASCADE",
    (
        "DROP TYPE IF EXISTS edited_mood, edited_small, edited_ratio, edited_yes, edited_pair, "
        "edited_some_pair CASCADE"
    ),
    "CREATE TYPE edited_mood AS ENUM ('so ''so''; \"\\', 'b')",
    "CREATE DOMAIN edited_small AS int CHECK (value < 100)",
    "CREATE DOMAIN edited_ratio AS float8",
    "CREATE DOMAIN edited_yes AS bool",
    "CREATE TYPE edited_pair AS (a int, b text)",
    "CREATE DOMAIN edited_some_pair AS edited_pair",
]


@pytest.fixture
async def every(grid: Grid) -> Grid:
    """A table with a column for each type, and a row for each value; the first has only nulls."""
    for statement in SETUP:
        await grid.run(statement)
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(VALUES))
    await grid.run(f"CREATE TABLE every (id int PRIMARY KEY, {columns})")
    most = max(map(len, VALUES.values()))
    rows = [
        ", ".join([str(at), *(values[at % len(values)] for values in VALUES.values())])
        for at in range(most)
    ]
    for row in ["-1", *rows]:
        await grid.run(f"INSERT INTO every VALUES ({row})")  # noqa: S608 - constants
    return grid


async def test_every_built_in_type_is_tried(grid: Grid) -> None:
    found = await grid.rows(
        "SELECT typname::text FROM pg_type WHERE typtype IN ('b', 'r', 'm') AND typelem = 0 "
        "AND typnamespace = 'pg_catalog'::regnamespace AND typcategory <> 'A'"
    )
    known = {kind.partition("(")[0].strip('"') for kind in VALUES}
    same = {"bpchar": "char", "bit": "bit"}
    more = {each["typname"] for each in found if each["typname"].startswith("reg")}
    more |= {"daterange", "int8range", "tsrange", "timestamp", "timestamptz"}
    more |= {each["typname"] for each in found if each["typname"].endswith("multirange")}
    names = {same.get(each["typname"], each["typname"]) for each in found}
    assert names - known - more - EXEMPT == set()


async def test_values_of_every_type_are_compared_and_written_without_loss(every: Grid) -> None:
    before = await every.rows("SELECT * FROM every ORDER BY id")
    same = [
        update({"id": row["id"]}, row, **{name: row[name] for name in row if name != "id"})
        for row in before
    ]
    assert (await every.apply(*same, table="every"))["rows"] == before
    assert await every.rows("SELECT * FROM every ORDER BY id") == before
    copies = [row | {"id": row["id"] + 100} for row in before]
    made = await every.apply(*(insert(**row) for row in copies), table="every")
    assert made["rows"] == copies
    gone = await every.apply(*(delete({"id": row["id"]}, row) for row in before), table="every")
    assert gone["rows"] == [None] * len(before)
    assert await every.rows("SELECT * FROM every ORDER BY id") == copies


async def test_value_that_differs_only_in_its_text_is_a_conflict(every: Grid) -> None:
    """Each value against each other one of its type, which PostgreSQL may find equal."""
    rows = await every.rows("SELECT * FROM every ORDER BY id")
    changes, expected_conflicts = [], []
    for name in [f"c{i}" for i in range(len(VALUES))]:
        for row in rows:
            other = next((each for each in rows if repr(each[name]) != repr(row[name])), None)
            if other is None:
                continue
            changes.append(update({"id": row["id"]}, {name: other[name]}, **{name: row[name]}))
            expected_conflicts.append((name, row[name], other[name]))
    found = []
    for start in range(0, len(changes), 1000):
        answer = await every.change(*changes[start : start + 1000], table="every")
        assert answer["error"]["code"] == "CONFLICT", answer["error"]
        found += [start + each["index"] for each in answer["conflicts"]]
    missed = [each for at, each in enumerate(expected_conflicts) if at not in set(found)]
    assert missed == []
