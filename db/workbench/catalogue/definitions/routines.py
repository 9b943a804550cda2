"""Definitions of functions, procedures, aggregates and window functions."""

from db.workbench.catalogue.definitions.fragments import comment

_THESE = "p.oid = ANY($1::bigint[]::oid[])"

_SIGNATURE = """concat(quote_ident(n.nspname), '.', quote_ident(p.proname), '(',
  coalesce(nullif({}(p.oid), ''), CASE p.prokind WHEN 'a' THEN '*' END), ')')"""


def _operator(oid: str) -> str:
    return f"""(SELECT format('OPERATOR(%I.%s)', opn.nspname, op.oprname) FROM pg_operator AS op
      JOIN pg_namespace AS opn ON opn.oid = op.oprnamespace WHERE op.oid = {oid})"""  # noqa: S608 - constants


# The usual modification of a final function depends on the kind of the aggregate.
def _modify(column: str) -> str:
    usual = "CASE WHEN a.aggkind = 'n' THEN 'r' ELSE 'w' END"
    return f"""CASE WHEN a.{column} <> {usual} THEN CASE a.{column} WHEN 'r' THEN 'READ_ONLY'
      WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END"""


def _function(column: str) -> str:
    return f"CASE WHEN a.{column} <> 0 THEN a.{column}::text END"


_PARAMETERS = (
    "'SFUNC = ' || a.aggtransfn",
    "'STYPE = ' || format_type(a.aggtranstype, NULL)",
    "'SSPACE = ' || nullif(a.aggtransspace, 0)",
    f"'FINALFUNC = ' || {_function('aggfinalfn')}",
    "CASE WHEN a.aggfinalextra THEN 'FINALFUNC_EXTRA' END",
    f"'FINALFUNC_MODIFY = ' || {_modify('aggfinalmodify')}",
    f"'COMBINEFUNC = ' || {_function('aggcombinefn')}",
    f"'SERIALFUNC = ' || {_function('aggserialfn')}",
    f"'DESERIALFUNC = ' || {_function('aggdeserialfn')}",
    "'INITCOND = ' || quote_literal(a.agginitval)",
    f"'MSFUNC = ' || {_function('aggmtransfn')}",
    f"'MINVFUNC = ' || {_function('aggminvtransfn')}",
    "CASE WHEN a.aggmtranstype <> 0 THEN 'MSTYPE = ' || format_type(a.aggmtranstype, NULL) END",
    "'MSSPACE = ' || nullif(a.aggmtransspace, 0)",
    f"'MFINALFUNC = ' || {_function('aggmfinalfn')}",
    "CASE WHEN a.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END",
    f"CASE WHEN a.aggmfinalfn <> 0 THEN 'MFINALFUNC_MODIFY = ' || {_modify('aggmfinalmodify')} END",
    "'MINITCOND = ' || quote_literal(a.aggminitval)",
    f"'SORTOP = ' || {_operator('a.aggsortop')}",
    "CASE p.proparallel WHEN 's' THEN 'PARALLEL = SAFE' WHEN 'r' THEN 'PARALLEL = RESTRICTED' END",
    "CASE WHEN a.aggkind = 'h' THEN 'HYPOTHETICAL' END",
)

ROUTINE = (
    f"""SELECT p.oid::bigint AS id, '' AS rank,
      rtrim(pg_get_functiondef(p.oid), E'\\n') AS text
    FROM pg_proc AS p WHERE {_THESE} AND p.prokind <> 'a'""",  # noqa: S608 - constants
    f"""SELECT p.oid::bigint, '', concat('CREATE AGGREGATE ',
      {_SIGNATURE.format("pg_get_function_arguments")}, E' (\\n    ',
      concat_ws(E',\\n    ', {", ".join(_PARAMETERS)}), E'\\n)')
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    JOIN pg_aggregate AS a ON a.aggfnoid = p.oid
    WHERE {_THESE}""",  # noqa: S608 - constants
    comment(
        "pg_proc",
        "word, ' ', signature",
        f"""SELECT p.oid::bigint AS id, p.oid AS object,
          CASE p.prokind WHEN 'a' THEN 'AGGREGATE' WHEN 'p' THEN 'PROCEDURE'
            ELSE 'FUNCTION' END AS word,
          {_SIGNATURE.format("pg_get_function_identity_arguments")} AS signature
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE {_THESE}""",  # noqa: S608 - constants
    ),
)
