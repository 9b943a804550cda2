"""Definitions of schemas, triggers, policies, rules, extensions, statistics, collations."""

from db.workbench.catalogue.definitions.fragments import comment


def _these(alias: str) -> str:
    return f"{alias}.oid = ANY($1::bigint[]::oid[])"


def _state(column: str, kind: str) -> str:
    """An expression: the words that set the state of a trigger or rule."""
    return f"""CASE {column} WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
      WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END || ' {kind}'"""


SCHEMA = (
    f"""SELECT n.oid::bigint AS id, '' AS rank, 'CREATE SCHEMA ' || quote_ident(n.nspname) AS text
    FROM pg_namespace AS n WHERE {_these("n")}""",  # noqa: S608 - constants
    comment(
        "pg_namespace",
        "'SCHEMA ', quote_ident(nspname)",
        f"""SELECT n.oid::bigint AS id, n.oid AS object, n.nspname
        FROM pg_namespace AS n WHERE {_these("n")}""",  # noqa: S608 - constants
    ),
)

TRIGGER = (
    f"""SELECT t.oid::bigint AS id, '' AS rank, pg_get_triggerdef(t.oid) AS text
    FROM pg_trigger AS t WHERE {_these("t")}""",  # noqa: S608 - constants
    f"""SELECT t.oid::bigint, '', concat('ALTER TABLE ', t.tgrelid::regclass, ' ',
      {_state("t.tgenabled", "TRIGGER")}, ' ', quote_ident(t.tgname))
    FROM pg_trigger AS t WHERE {_these("t")} AND t.tgenabled <> 'O'""",  # noqa: S608 - constants
    comment(
        "pg_trigger",
        "format('TRIGGER %I ON %s', tgname, tgrelid::regclass)",
        f"""SELECT t.oid::bigint AS id, t.oid AS object, t.tgname, t.tgrelid
        FROM pg_trigger AS t WHERE {_these("t")}""",  # noqa: S608 - constants
    ),
)

# A partition gets the triggers of its parent when it is attached, but has their state for itself.
STATES_OF_PARTITION = f"""SELECT t.tgrelid::bigint AS id, t.tgname AS rank, concat('ALTER TABLE ',
      t.tgrelid::regclass, ' ', {_state("t.tgenabled", "TRIGGER")}, ' ', quote_ident(t.tgname))
    AS text
  FROM pg_trigger AS t JOIN pg_trigger AS p ON p.oid = t.tgparentid
  WHERE t.tgrelid = ANY($1::bigint[]::oid[]) AND t.tgenabled <> p.tgenabled"""  # noqa: S608 - constants

RULE = (
    f"""SELECT r.oid::bigint AS id, '' AS rank, rtrim(pg_get_ruledef(r.oid), ';') AS text
    FROM pg_rewrite AS r WHERE {_these("r")}""",  # noqa: S608 - constants
    f"""SELECT r.oid::bigint, '', concat('ALTER TABLE ', r.ev_class::regclass, ' ',
      {_state("r.ev_enabled", "RULE")}, ' ', quote_ident(r.rulename))
    FROM pg_rewrite AS r WHERE {_these("r")} AND r.ev_enabled <> 'O'""",  # noqa: S608 - constants
    comment(
        "pg_rewrite",
        "format('RULE %I ON %s', rulename, ev_class::regclass)",
        f"""SELECT r.oid::bigint AS id, r.oid AS object, r.rulename, r.ev_class
        FROM pg_rewrite AS r WHERE {_these("r")}""",  # noqa: S608 - constants
    ),
)

POLICY = (
    f"""SELECT p.oid::bigint AS id, '' AS rank, concat('CREATE POLICY ', quote_ident(p.polname),
      ' ON ', p.polrelid::regclass, CASE WHEN NOT p.polpermissive THEN ' AS RESTRICTIVE' END,
      CASE p.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT'
        WHEN 'w' THEN ' FOR UPDATE' WHEN 'd' THEN ' FOR DELETE' END,
      ' TO ' || (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END, ', '
        ORDER BY number) FROM unnest(p.polroles) WITH ORDINALITY AS granted (role, number)),
      ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
      ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS text
    FROM pg_policy AS p WHERE {_these("p")}""",  # noqa: S608 - constants
    comment(
        "pg_policy",
        "format('POLICY %I ON %s', polname, polrelid::regclass)",
        f"""SELECT p.oid::bigint AS id, p.oid AS object, p.polname, p.polrelid
        FROM pg_policy AS p WHERE {_these("p")}""",  # noqa: S608 - constants
    ),
)

# The version is a comment: another server has another version of the extension.
EXTENSION = (
    f"""SELECT e.oid::bigint AS id, '' AS rank, format(
      E'-- Version %s\\nCREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I',
      translate(e.extversion, E'\\n\\r', '  '), e.extname, n.nspname) AS text
    FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
    WHERE {_these("e")}""",  # noqa: S608 - constants
    comment(
        "pg_extension",
        "'EXTENSION ', quote_ident(extname)",
        f"""SELECT e.oid::bigint AS id, e.oid AS object, e.extname
        FROM pg_extension AS e WHERE {_these("e")}""",  # noqa: S608 - constants
    ),
)

_STATISTICS = f"""FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace
  WHERE {_these("s")}"""
STATISTICS = (
    f"""SELECT s.oid::bigint AS id, '' AS rank, pg_get_statisticsobjdef(s.oid) AS text
    {_STATISTICS}""",
    f"""SELECT s.oid::bigint, '', format('ALTER STATISTICS %I.%I SET STATISTICS %s',
      n.nspname, s.stxname, s.stxstattarget) {_STATISTICS} AND s.stxstattarget >= 0""",
    comment(
        "pg_statistic_ext",
        "format('STATISTICS %I.%I', nspname, stxname)",
        f"SELECT s.oid::bigint AS id, s.oid AS object, n.nspname, s.stxname {_STATISTICS}",
    ),
)

# The columns for the locale of ICU differ by version: colllocale since 17, colliculocale in 15 and
# 16, collcollate before. `row` has whichever there are.
COLLATION = (
    f"""SELECT c.oid::bigint AS id, '' AS rank, concat('CREATE COLLATION ', c.oid::regcollation,
      ' (', concat_ws(', ',
        'provider = ' || CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
          WHEN 'd' THEN 'default' ELSE 'libc' END,
        CASE WHEN NOT c.collisdeterministic THEN 'deterministic = false' END,
        CASE WHEN c.collprovider IN ('i', 'b') THEN 'locale = ' || quote_literal(coalesce(
            row ->> 'colllocale', row ->> 'colliculocale', row ->> 'collcollate'))
          WHEN c.collcollate = c.collctype THEN 'locale = ' || quote_literal(c.collcollate)
          ELSE format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype) END,
        'rules = ' || quote_literal(row ->> 'collicurules')), ')') AS text
    FROM pg_collation AS c, to_jsonb(c) AS row WHERE {_these("c")}""",  # noqa: S608 - constants
    comment(
        "pg_collation",
        "'COLLATION ', object::regcollation",
        f"""SELECT c.oid::bigint AS id, c.oid AS object
        FROM pg_collation AS c WHERE {_these("c")}""",  # noqa: S608 - constants
    ),
)

EVENT_TRIGGER = (
    f"""SELECT e.oid::bigint AS id, '' AS rank, concat('CREATE EVENT TRIGGER ',
      quote_ident(e.evtname), ' ON ', quote_ident(e.evtevent),
      ' WHEN TAG IN (' || (SELECT string_agg(quote_literal(tag), ', ')
        FROM unnest(e.evttags) AS tag) || ')',
      ' EXECUTE FUNCTION ', e.evtfoid::regproc, '()') AS text
    FROM pg_event_trigger AS e WHERE {_these("e")}""",  # noqa: S608 - constants
    f"""SELECT e.oid::bigint, '', concat('ALTER EVENT TRIGGER ', quote_ident(e.evtname), ' ',
      rtrim({_state("e.evtenabled", "")}))
    FROM pg_event_trigger AS e WHERE {_these("e")} AND e.evtenabled <> 'O'""",  # noqa: S608 - constants
    comment(
        "pg_event_trigger",
        "'EVENT TRIGGER ', quote_ident(evtname)",
        f"""SELECT e.oid::bigint AS id, e.oid AS object, e.evtname
        FROM pg_event_trigger AS e WHERE {_these("e")}""",  # noqa: S608 - constants
    ),
)
