"""Every PostgreSQL type is returned without loss, compared with the server's own text."""

import json
from typing import Any

import pytest

from db.runs import RunState
from tests.fixtures.runs import Desk

SAMPLES: dict[str, list[str]] = {
    "aclitem": ["postgres=r/postgres"],
    "bit": ["1"],
    "bool": ["t", "f"],
    "box": ["(1,2),(0,0)"],
    "bpchar": ["ab  "],
    "bytea": [r"\xdeadbeef00", ""],
    "char": ["x"],
    "cid": ["7"],
    "cidr": ["10.0.0.0/8", "2001:db8::/32"],
    "circle": ["<(0.1,-0.2),3>"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "0044-03-15 BC"],
    "datemultirange": ["{[2020-01-01,2021-01-01)}"],
    "daterange": ["[2020-01-01,)", "empty"],
    "float4": ["0.1", "NaN", "-Infinity", "3.4028235e+38", "1e-45"],
    "float8": ["0.1", "NaN", "Infinity", "1.7976931348623157e+308", "5e-324", "-0"],
    "gtsvector": [],
    "inet": ["10.0.0.1/8", "::1"],
    "int2": ["-32768"],
    "int2vector": ["1 2 3"],
    "int4": ["-2147483648", "2147483647"],
    "int4multirange": ["{[1,3),[5,7)}"],
    "int4range": ["[1,5)"],
    "int8": ["9223372036854775807", "-9223372036854775808"],
    "int8multirange": ["{[1,9223372036854775807)}"],
    "int8range": ["(,9007199254740993)"],
    "interval": ["1 year 2 mons -3 days 04:05:06.789", "-178000000 years", "00:00:00"],
    "json": ['{"a":1,  "a":2, "big":9007199254740993.000000000000000001}', "null"],
    "jsonb": ['{"a": [1, 1e400]}'],
    "jsonpath": ['$."a"[*]?(@ > 1)'],
    "line": ["{1,2,3}"],
    "lseg": ["[(0,0),(1,1)]"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "money": ["12.34"],
    "name": ["a name"],
    "numeric": ["1e400", "NaN", "Infinity", "-0.000000000000000000000000001", "1.10", "1e-400"],
    "nummultirange": ["{(1.5,2.5]}"],
    "numrange": ["[1.10,2.20)"],
    "oid": ["4294967295"],
    "oidvector": ["1 2"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1))"],
    "pg_lsn": ["16/B374D848"],
    "pg_snapshot": ["10:20:10,14,15"],
    "point": ["(1e+300,-0.1)"],
    "polygon": ["((0,0),(1,1),(1,0))"],
    "refcursor": ["cursor"],
    "regclass": ["pg_class"],
    "regcollation": ['"C"'],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "regnamespace": ["public"],
    "regoper": ["||/"],
    "regoperator": ["+(integer,integer)"],
    "regproc": ["now"],
    "regprocedure": ["abs(integer)"],
    "regrole": ["ada"],
    "regtype": ["integer"],
    "text": ["", "NULL", "é\U0001f418\n\t\"'\\", "\u2028", "\x01\x7f"],
    "tid": ["(1,2)"],
    "time": ["24:00:00", "00:00:00.000001"],
    "timestamp": ["infinity", "294276-12-31 23:59:59.999999", "4713-01-01 00:00:00 BC"],
    "timestamptz": ["-infinity", "2020-02-29 12:00:00+13", "0001-01-01 00:00:00+00 BC"],
    "timetz": ["12:00:00+15:59"],
    "tsmultirange": ['{["2020-01-01","2020-01-02")}'],
    "tsquery": ["'a' & !'b':*"],
    "tsrange": ['["2020-01-01",infinity]'],
    "tstzmultirange": ['{["2020-01-01+00","2020-01-02+00")}'],
    "tstzrange": ['["2020-01-01+00",)'],
    "tsvector": ["'a':1A 'b c':2"],
    "txid_snapshot": ["10:20:10"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "varbit": ["10101", ""],
    "varchar": ["öäü"],
    "xid": ["7"],
    "xid8": ["18446744073709551615"],
    "xml": ["<a>&lt;</a>"],
}
INTERNAL = {"pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies"}
INTERNAL |= {"pg_mcv_list", "pg_ndistinct", "pg_node_tree", "gtsvector"}
MIXED_ENCODINGS = """SELECT set_config('client_encoding', e, false), 'é'
  FROM (VALUES ('LATIN1'), ('UTF8')) AS v (e)"""
NATIVE = {"bool", "int2", "int4", "float4", "float8"}


def expected(kind: str, text: str) -> Any:
    """The value in the API for the server's `text`."""
    if kind not in NATIVE or text in {"NaN", "Infinity", "-Infinity"}:
        return text
    if kind == "bool":
        return {"t": True, "f": False}[text]
    return float(text) if kind.startswith("float") else int(text)


async def test_values_cover_every_type_of_the_server(desk: Desk) -> None:
    run = await desk.run(
        "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace "
        "AND typtype IN ('b', 'r', 'm') "
        "AND (typcategory <> 'A' OR typname IN ('int2vector', 'oidvector'))"
    )
    types = {row[0] for row in await desk.rows(run)}
    assert types - INTERNAL == {kind for kind, samples in SAMPLES.items() if samples}


@pytest.mark.parametrize("kind", [kind for kind, samples in SAMPLES.items() if samples])
async def test_values_of_each_type_and_their_arrays(desk: Desk, kind: str) -> None:
    samples = [sample for sample in SAMPLES[kind] if kind != "xml" or sample]
    run = await desk.run(
        f"""SELECT v, format('%s', v), ARRAY[v, NULL], format('%s', ARRAY[v, NULL]),
            ROW(v, NULL), format('%s', ROW(v, NULL)), NULL::"{kind}"
            FROM (SELECT s::"{kind}" AS v FROM unnest($1::text[]) AS s) AS x""",  # noqa: S608 - names of this module
        parameters=["{" + ",".join(json.dumps(sample) for sample in samples) + "}"],
    )
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    rows = await desk.rows(run)
    assert len(rows) == len(samples)
    for value, text, array, array_text, composite, composite_text, null in rows:
        shown = expected(kind, text)
        assert (value, type(value)) == (shown, type(shown))
        assert (array, composite, null) == (array_text, composite_text, None)


async def test_values_of_user_defined_types(desk: Desk) -> None:
    for statement in (
        "DROP TYPE IF EXISTS mood, pair CASCADE",
        "DROP DOMAIN IF EXISTS positive",
        "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"')",
        "CREATE TYPE pair AS (a int, m mood)",
        "CREATE DOMAIN positive AS int8 CHECK (value > 0)",
    ):
        assert (await desk.run(statement)).error is None
    run = await desk.run(
        """SELECT 'it''s "ok"'::mood, ROW(1, 'sad')::pair, 9007199254740993::positive,
           ARRAY['sad']::mood[], ARRAY[ROW(1, NULL)::pair]"""
    )
    assert await desk.rows(run) == [
        ['it\'s "ok"', "(1,sad)", "9007199254740993", "{sad}", '{"(1,)"}']
    ]
    named = [column.type for column in run.parsed_columns or ()]
    assert named == ["mood", "pair", "int8", "mood[]", "pair[]"]


@pytest.mark.parametrize(
    "odd",
    [
        {150: None, 180: 1.7976931348623157e308, 181: 5e-324, 182: 1e22},
        {70: "NaN", 120: "-Infinity", 150: None, 180: 1.7976931348623157e308, 181: 1.7e308},
        {1: -0.0, 2: -0.5, 3: -0.0},
        {200: -0.0},
    ],
)
async def test_values_of_float_among_many(desk: Desk, odd: dict[int, Any]) -> None:
    """Floats are parsed in batches; a value without a JSON number does not change others."""
    cases = " ".join(
        f"WHEN {i} THEN {'NULL' if value is None else repr(str(value))}" for i, value in odd.items()
    )
    run = await desk.run(
        f"SELECT (CASE i {cases} ELSE i::text END)::float8, i / 4::float4, i "  # noqa: S608 - numbers
        "FROM generate_series(1, 200) AS i"
    )
    rows = await desk.rows(run)
    assert repr(rows) == repr([[odd.get(i, float(i)), i / 4, i] for i in range(1, 201)])


async def test_parameters_take_their_types_from_statement(desk: Desk) -> None:
    run = await desk.run(
        "SELECT $1::int8 + 1, $2::bool, $3::jsonb, $4::text, $5::numeric, $6::text IS NULL",
        parameters=[9007199254740993, True, {"a": [1]}, "x", 1.5, None],
    )
    assert await desk.rows(run) == [["9007199254740994", True, '{"a": [1]}', "x", "1.5", True]]


async def test_rows_of_large_result_are_readable_from_any_offset(desk: Desk) -> None:
    run = await desk.run("SELECT i, repeat('x', 100) FROM generate_series(0, 99999) AS i")
    assert (run.state, run.row_count) == (RunState.SUCCEEDED, 100_000)
    for offset in (0, 99, 100, 31_337, 99_990):
        found = [row[0] for row in await desk.rows(run, offset=offset, first=10)]
        assert found == list(range(offset, min(offset + 10, 100_000)))
    across = await desk.rows(run, offset=35_000, first=5_000)
    assert [row[0] for row in across] == list(range(35_000, 40_000))
    assert await desk.rows(run, offset=100_000) == []


async def test_rows_are_readable_while_run_continues(desk: Desk) -> None:
    run = await desk.start(
        "SELECT i, pg_sleep(CASE WHEN i = 1500 THEN 60 ELSE 0 END)::text "
        "FROM generate_series(1, 2000) i"
    )
    while (await desk.now(run)).row_count < 1_000:
        await desk.changed(run)
    going = await desk.now(run)
    assert (going.state, [one.name for one in going.parsed_columns or ()]) == (
        "RUNNING",
        ["i", "pg_sleep"],
    )
    assert [row[0] for row in await desk.rows(run, offset=998, first=2)] == [999, 1_000]
    await desk.runner.cancel(desk.owner, run.id)
    kept = await desk.end_of(run)
    assert kept.row_count >= 1_000
    assert len(await desk.rows(kept, first=5_000)) == kept.row_count


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("int[]", [1, -2, None], "{1,-2,NULL}"),
        ("int[]", [], "{}"),
        ("int[]", [[1, 2], [3, 4]], "{{1,2},{3,4}}"),
        ("int8[]", ["9007199254740993"], "{9007199254740993}"),
        ("float8[]", [1.5, "NaN", 1e300], "{1.5,NaN,1e+300}"),
        ("bool[]", [True, False, None], "{t,f,NULL}"),
        (
            "text[]",
            ["", "NULL", 'a "b"', "c\\d", "{,}", " é\n", {"a": 1}],
            '{"","NULL","a \\"b\\"","c\\\\d","{,}"," é\n","{\\"a\\":1}"}',
        ),
        ("box[]", ["(1,2),(0,0)", "(3,4),(0,0)"], "{(1,2),(0,0);(3,4),(0,0)}"),
        ("json[]", [{"a": [1]}, [1, 2], "x", None], '{"{\\"a\\":[1]}","[1,2]","\\"x\\"",NULL}'),
        ("jsonb[]", [[1, [2]]], '{"[1, [2]]"}'),
        ("mood[]", ["sad", None], "{sad,NULL}"),
        ("moods", ["sad"], "{sad}"),
        ("notes[]", [[1], {"a": 2}], '{[1],"{\\"a\\":2}"}'),
        ("jsonb", [1, [None, "a"]], '[1, [null, "a"]]'),
        ("json", [[]], "[[]]"),
        ("text", ["a"], '["a"]'),
        ("int2vector", "1 2", "1 2"),
    ],
)
async def test_parameters_that_are_json_arrays(
    desk: Desk, kind: str, value: object, text: str
) -> None:
    await desk.target.script(
        """DROP TYPE IF EXISTS mood CASCADE; CREATE TYPE mood AS ENUM ('sad');
        DROP DOMAIN IF EXISTS moods, notes; CREATE DOMAIN moods AS mood[];
        CREATE DOMAIN notes AS json"""
    )
    run = await desk.run(f"SELECT ($1::{kind})::text, $2::int", parameters=[value, 7])
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
    assert await desk.rows(run) == [[text, 7]]


async def test_parameter_that_is_a_json_array_is_searched_with_any(desk: Desk) -> None:
    statement = "SELECT i FROM generate_series(1, 9) AS i WHERE i = ANY($1) AND i <> ALL ($2)"
    for read_only in (False, True):
        run = await desk.run(statement, parameters=[[2, 3, None], []], read_only=read_only)
        assert await desk.rows(run) == [[2], [3]]
    assert (await desk.run("SELECT 1 FROM nothing_here WHERE $1", parameters=[[1]])).state == (
        RunState.FAILED
    )


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SET client_encoding = 'LATIN1'", []),
        ("SET NAMES 'SJIS'", []),
        ("SELECT set_config('client_encoding', 'LATIN1', false) AS é", [["LATIN1"]]),
        ("SELECT set_config('client_encoding', 'LATIN1', false), 'é'", None),
        ("SELECT set_config('client_encoding', 'LATIN1', false), 'Ã©'", None),
        (MIXED_ENCODINGS, None),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
async def test_text_is_not_lossy_after_a_change_of_client_encoding(
    desk: Desk, statement: str, rows: list[object] | None, *, read_only: bool
) -> None:
    run = await desk.run(statement, read_only=read_only)
    if rows is None:
        assert (run.state, run.row_count, run.parsed_error is None) == (RunState.FAILED, 0, False)
        assert "`client_encoding`" in run.parsed_error.message  # type: ignore[union-attr]  # checked
    else:
        assert (run.state, run.error) == (RunState.SUCCEEDED, None)
        assert await desk.rows(run) == rows
        assert [notice.message.split(",")[0] for notice in run.parsed_notices] == [
            f"`client_encoding` was set to {'SJIS' if 'SJIS' in statement else 'LATIN1'}"
        ]
        assert [column.name for column in run.parsed_columns or ()][:1] == ["é"] * len(rows)
    assert await desk.rows(await desk.run("SELECT 'é', '한국어'")) == [["é", "한국어"]]
