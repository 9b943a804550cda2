-- Every kind of object that has a definition, as PostgreSQL 14 has it.
CREATE SCHEMA "Odd ""schema"" ü";
COMMENT ON SCHEMA "Odd ""schema"" ü" IS 'It''s odd: \ "quoted" $$ and ü';
CREATE SCHEMA "select";
CREATE SCHEMA app;
CREATE EXTENSION hstore WITH SCHEMA "Odd ""schema"" ü";
CREATE EXTENSION btree_gist WITH SCHEMA app;
CREATE EXTENSION citext;
CREATE EXTENSION file_fdw WITH SCHEMA app;
COMMENT ON EXTENSION citext IS 'Text whose case is ignored';

-- Types
CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', '', 'Happy \ ü');
ALTER TYPE app.mood ADD VALUE 'so so' AFTER 'sad';
COMMENT ON TYPE app.mood IS 'Moods';
CREATE TYPE "select"."Pair of" AS (
  "First one" varchar(10) COLLATE "C", second numeric(10, 2)[], mood app.mood, at timestamp(3) with time zone);
COMMENT ON TYPE "select"."Pair of" IS 'Two';
COMMENT ON COLUMN "select"."Pair of"."First one" IS 'The first';
CREATE TYPE app.nothing AS ();
CREATE DOMAIN app."Short text" AS varchar(20) COLLATE "POSIX" DEFAULT 'none' NOT NULL
  CONSTRAINT "not empty" CHECK (VALUE <> '') CHECK (length(VALUE) < 20);
ALTER DOMAIN app."Short text" ADD CONSTRAINT later CHECK (VALUE <> 'later') NOT VALID;
COMMENT ON DOMAIN app."Short text" IS 'Short';
COMMENT ON CONSTRAINT "not empty" ON DOMAIN app."Short text" IS 'Has a letter';
CREATE DOMAIN app.plain AS int;
CREATE DOMAIN app.nested AS app.plain DEFAULT 1 + 2;
CREATE DOMAIN app.day AS date DEFAULT '2024-03-01'::date CHECK (VALUE > '1999-12-31'::date);
CREATE FUNCTION app.seconds(a time, b time) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT
  AS 'SELECT extract(epoch FROM (a - b))::float8';
CREATE TYPE app.timerange AS RANGE (
  SUBTYPE = time, SUBTYPE_DIFF = app.seconds, MULTIRANGE_TYPE_NAME = "select"."Many times");
CREATE TYPE app.pattern_range AS RANGE (
  SUBTYPE = text, SUBTYPE_OPCLASS = text_pattern_ops, COLLATION = "C");
COMMENT ON TYPE app.timerange IS 'Times';
CREATE TYPE app.unfinished;
CREATE TYPE app.base;
CREATE FUNCTION app.base_in(cstring) RETURNS app.base LANGUAGE internal IMMUTABLE STRICT AS 'int8in';
CREATE FUNCTION app.base_out(app.base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int8out';
CREATE TYPE app.base (INPUT = app.base_in, OUTPUT = app.base_out, INTERNALLENGTH = 8, PASSEDBYVALUE,
  ALIGNMENT = double, CATEGORY = 'N', PREFERRED = false, DEFAULT = '0', DELIMITER = ';');
CREATE COLLATION app.plain_c (lc_collate = 'C', lc_ctype = 'POSIX');
CREATE COLLATION app.same (locale = 'C');
COMMENT ON COLLATION app.same IS 'As C';

-- Sequences
CREATE SEQUENCE app.numbers;
CREATE SEQUENCE app."Down" AS smallint INCREMENT BY -2 MINVALUE -100 MAXVALUE 50 START WITH 20 CACHE 5 CYCLE;
CREATE SEQUENCE app.down_usual AS int INCREMENT BY -1;
COMMENT ON SEQUENCE app."Down" IS 'Goes down';

-- Functions
CREATE FUNCTION app."Add one"(n int, INOUT step int DEFAULT 1, VARIADIC more int[] DEFAULT '{}') LANGUAGE plpgsql
  STABLE STRICT SECURITY DEFINER PARALLEL SAFE COST 7 SET search_path = app, pg_temp SET work_mem = '8MB'
  AS $$ BEGIN step := n + step; -- $function$
  END $$;
COMMENT ON FUNCTION app."Add one"(int, int, int[]) IS 'Adds';
CREATE FUNCTION app.atomic(a int) RETURNS int LANGUAGE sql IMMUTABLE LEAKPROOF BEGIN ATOMIC SELECT a + 1; SELECT a * 2; END;
CREATE FUNCTION app.moods(text) RETURNS TABLE (mood app.mood, "N" int) LANGUAGE sql ROWS 5
  AS 'SELECT ''sad''::app.mood, 1';
CREATE FUNCTION app.rank_of() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE STRICT AS 'window_rank';
CREATE PROCEDURE app.tidy(INOUT n int, t text DEFAULT 'it''s') LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
COMMENT ON PROCEDURE app.tidy(int, text) IS 'Tidies';
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE AGGREGATE app.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = int4pl,
  MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, MINITCOND = '0', PARALLEL = SAFE);
CREATE AGGREGATE app.rows(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE app.smallest(int) (SFUNC = int4smaller, STYPE = int, SORTOP = <);
CREATE AGGREGATE app.many(VARIADIC "any") (SFUNC = ordered_set_transition_multi, STYPE = internal,
  FINALFUNC = rank_final, FINALFUNC_EXTRA, FINALFUNC_MODIFY = READ_WRITE, SSPACE = 64);
CREATE AGGREGATE app.middle(float8 ORDER BY float8) (SFUNC = ordered_set_transition, STYPE = internal,
  FINALFUNC = percentile_cont_float8_final);
CREATE AGGREGATE app.place(VARIADIC "any" ORDER BY VARIADIC "any") (SFUNC = ordered_set_transition_multi,
  STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL);
COMMENT ON AGGREGATE app.rows(*) IS 'Counts';
COMMENT ON AGGREGATE app.middle(float8 ORDER BY float8) IS 'In the middle';

-- Tables
CREATE TABLE app.customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "Name" varchar(80) COLLATE "C" NOT NULL DEFAULT 'it''s \ ü',
  email citext UNIQUE,
  gone int,
  mood app.mood DEFAULT 'sad',
  since date NOT NULL DEFAULT '2024-02-03',
  pause interval DEFAULT '1 year 02:03:04.5',
  ratio float8 DEFAULT 0.1,
  bytes bytea DEFAULT '\x00ff',
  tags text[] NOT NULL DEFAULT '{}',
  short app."Short text",
  doubled numeric(12, 2) GENERATED ALWAYS AS (ratio * 2) STORED,
  CONSTRAINT "Mood & name" CHECK (mood <> 'sad' OR "Name" <> '') NO INHERIT,
  CHECK (ratio BETWEEN 0 AND 1)
);
ALTER TABLE app.customers DROP COLUMN gone;
ALTER TABLE app.customers ALTER COLUMN "Name" SET STORAGE EXTERNAL, ALTER COLUMN tags SET STORAGE MAIN,
  ALTER COLUMN bytes SET COMPRESSION pglz, ALTER COLUMN since SET STATISTICS 250,
  ALTER COLUMN ratio SET (n_distinct = -0.5, n_distinct_inherited = 7);
ALTER TABLE app.customers ADD CONSTRAINT "later on" CHECK (since > '1990-01-01') NOT VALID;
ALTER TABLE app.customers SET (fillfactor = 70, autovacuum_enabled = off, toast.autovacuum_vacuum_scale_factor = 0.25);
COMMENT ON TABLE app.customers IS 'Who buys';
COMMENT ON COLUMN app.customers."Name" IS 'The "name"';
COMMENT ON CONSTRAINT customers_pkey ON app.customers IS 'The key';
COMMENT ON CONSTRAINT "later on" ON app.customers IS 'Not checked';
COMMENT ON INDEX app.customers_pkey IS 'The index of the key';
COMMENT ON SEQUENCE app.customers_id_seq IS 'Numbers of customers';
CREATE UNLOGGED TABLE app."Order" (
  "Id" serial,
  number smallint GENERATED BY DEFAULT AS IDENTITY
    (SEQUENCE NAME app."Order numbers" START WITH 100 INCREMENT BY 5 MAXVALUE 1000 CYCLE),
  customer bigint CONSTRAINT "of customer" REFERENCES app.customers ON UPDATE CASCADE ON DELETE SET NULL
    DEFERRABLE INITIALLY DEFERRED,
  other bigint, region text, during tstzrange, "user" text DEFAULT CURRENT_USER, next int DEFAULT nextval('app.numbers'),
  CONSTRAINT "Order key" PRIMARY KEY ("Id", number) INCLUDE (region) WITH (fillfactor = 60) DEFERRABLE,
  CONSTRAINT once UNIQUE (region, other) WITH (fillfactor = 55),
  CONSTRAINT apart EXCLUDE USING gist (region WITH =, during WITH &&) WITH (fillfactor = 50)
    WHERE (other > 0) DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE app."Order" ADD CONSTRAINT other_customer FOREIGN KEY (other) REFERENCES app.customers MATCH FULL NOT VALID;
COMMENT ON CONSTRAINT apart ON app."Order" IS 'Never at the same time';
CREATE TABLE app.circle_a (id int PRIMARY KEY, b int);
CREATE TABLE app.circle_b (id int PRIMARY KEY, a int REFERENCES app.circle_a);
ALTER TABLE app.circle_a ADD FOREIGN KEY (b) REFERENCES app.circle_b;
CREATE TABLE app.itself (id int PRIMARY KEY, parent int REFERENCES app.itself, UNIQUE (parent, id));
ALTER TABLE app.itself REPLICA IDENTITY USING INDEX itself_pkey;
CREATE TABLE app.full_identity (a int);
ALTER TABLE app.full_identity REPLICA IDENTITY FULL;
CREATE TABLE app.no_identity (a int);
ALTER TABLE app.no_identity REPLICA IDENTITY NOTHING;
CREATE TABLE app.no_columns ();
CREATE TABLE app.typed OF "select"."Pair of" (second NOT NULL, mood WITH OPTIONS DEFAULT 'sad', PRIMARY KEY ("First one"));
CREATE TABLE app.typed_plainly OF "select"."Pair of";

-- Inheritance
CREATE TABLE app.parent (a int DEFAULT 1, b text, c int NOT NULL, CONSTRAINT positive CHECK (a > 0));
CREATE TABLE app.second_parent (b text, z int DEFAULT 9);
CREATE TABLE app.child (own int, c int, CONSTRAINT small CHECK (a < 100)) INHERITS (app.parent, app.second_parent);
ALTER TABLE app.child ALTER COLUMN a SET DEFAULT 5, ALTER COLUMN z DROP DEFAULT, ALTER COLUMN b SET NOT NULL,
  ALTER COLUMN b SET STATISTICS 10;
COMMENT ON COLUMN app.child.a IS 'Of the parent';
CREATE TABLE app.adopted (b text, z int, extra int);
ALTER TABLE app.adopted INHERIT app.second_parent;
ALTER TABLE app.parent ADD CONSTRAINT unchecked CHECK (a < 1000) NOT VALID;

CREATE TABLE app.computed (a int, doubled int GENERATED ALWAYS AS (a * 2) STORED);
CREATE TABLE app.computed_child (b int) INHERITS (app.computed);
CREATE TABLE app.computed_adopted (a int, doubled int GENERATED ALWAYS AS (a * 2) STORED);
ALTER TABLE app.computed_adopted INHERIT app.computed;
CREATE TABLE app.reordered (extra int, z int, doubled int GENERATED ALWAYS AS (a * 2) STORED, b text, a int);
ALTER TABLE app.reordered INHERIT app.second_parent, INHERIT app.computed;
CREATE TABLE app.same_keys (a int PRIMARY KEY);
ALTER TABLE app.same_keys ADD CONSTRAINT again UNIQUE (a);
ALTER TABLE app.same_keys ADD CONSTRAINT and_again UNIQUE (a);

-- Partitions
CREATE TABLE app.events (
  id bigint GENERATED BY DEFAULT AS IDENTITY, at timestamptz NOT NULL, kind text DEFAULT 'none', customer bigint,
  CONSTRAINT events_key PRIMARY KEY (at, id), CONSTRAINT "Kind" CHECK (kind <> ''),
  FOREIGN KEY (customer) REFERENCES app.customers
) PARTITION BY RANGE (at);
CREATE INDEX "Events by kind" ON app.events (lower(kind), at DESC NULLS LAST) WITH (fillfactor = 80);
CREATE INDEX events_customer ON ONLY app.events (customer);
CREATE TABLE app.events_2024 PARTITION OF app.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01 00:00+00');
CREATE TABLE app.events_2025 (kind text NOT NULL DEFAULT '2025', note text, id bigint NOT NULL, customer bigint, at timestamptz NOT NULL,
  CONSTRAINT "Kind" CHECK (kind <> ''));
ALTER TABLE app.events_2025 DROP COLUMN note;
CREATE INDEX own_name ON app.events_2025 (customer);
ALTER TABLE app.events ATTACH PARTITION app.events_2025 FOR VALUES FROM ('2025-01-01 00:00+00') TO (MAXVALUE);
CREATE INDEX of_2024 ON app.events_2024 (kind) WHERE id > 5;
CREATE TABLE app.events_other PARTITION OF app.events DEFAULT PARTITION BY HASH (id);
CREATE TABLE app."Events A" PARTITION OF app.events_other (customer DEFAULT 5) FOR VALUES WITH (modulus 2, remainder 1);
CREATE TABLE app.listed (a int, b text) PARTITION BY LIST (b);
CREATE TABLE app."listed ü" PARTITION OF app.listed FOR VALUES IN ('a', 'it''s', NULL);
CREATE TABLE app.hashed (a int, b text) PARTITION BY HASH (a, (lower(b)) COLLATE "C");
CREATE TABLE app.hashed_0 PARTITION OF app.hashed FOR VALUES WITH (modulus 2, remainder 0);
COMMENT ON TABLE app.hashed_0 IS 'Half';
COMMENT ON INDEX app."Events by kind" IS 'By kind';

-- Indexes and statistics
CREATE UNIQUE INDEX "By Name" ON app.customers (lower("Name") text_pattern_ops DESC, since) INCLUDE (ratio)
  WITH (fillfactor = 90) WHERE ratio > 0.5 AND "Name" <> 'it''s';
CREATE INDEX customers_tags ON app.customers USING gin (tags) WITH (fastupdate = off);
CREATE INDEX customers_range ON app.customers USING brin (since) WITH (pages_per_range = 16);
ALTER INDEX app."By Name" ALTER COLUMN 1 SET STATISTICS 500;
COMMENT ON INDEX app."By Name" IS 'Names';
ALTER TABLE app.customers CLUSTER ON customers_email_key;
CREATE UNIQUE INDEX identity_here ON app.events_2024 (id, at);
ALTER TABLE app.events_2024 REPLICA IDENTITY USING INDEX identity_here;
CREATE STATISTICS app."Stats 1" (dependencies, ndistinct) ON since, ratio FROM app.customers;
CREATE STATISTICS app.stats_2 ON (lower("Name")), mood FROM app.customers;
ALTER STATISTICS app.stats_2 SET STATISTICS 300;
COMMENT ON STATISTICS app.stats_2 IS 'Of names';

-- Views
CREATE VIEW app."A view" AS SELECT id, "Name" AS "select", mood FROM app.customers WHERE ratio > 0.1 AND "Name" LIKE 'a%';
ALTER VIEW app."A view" ALTER COLUMN mood SET DEFAULT 'it''s ok';
COMMENT ON VIEW app."A view" IS 'Seen';
COMMENT ON COLUMN app."A view"."select" IS 'Named oddly';
CREATE VIEW app.checked WITH (security_barrier) AS SELECT * FROM app.customers WHERE ratio > 0 WITH LOCAL CHECK OPTION;
CREATE VIEW app.cascaded AS SELECT * FROM app.checked WITH CASCADED CHECK OPTION;
CREATE RECURSIVE VIEW app.counted (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 5;
CREATE VIEW app.of_views AS SELECT v.*, m.n FROM app."A view" AS v CROSS JOIN app.counted AS m;
CREATE MATERIALIZED VIEW app."Totals" WITH (fillfactor = 75) AS SELECT mood, count(*) AS n, max("Name") AS "Last"
  FROM app.customers GROUP BY mood;
CREATE UNIQUE INDEX "By mood" ON app."Totals" (mood);
ALTER MATERIALIZED VIEW app."Totals" CLUSTER ON "By mood";
ALTER MATERIALIZED VIEW app."Totals" ALTER COLUMN "Last" SET STATISTICS 20;
COMMENT ON MATERIALIZED VIEW app."Totals" IS 'Sums';
COMMENT ON COLUMN app."Totals".n IS 'How many';
CREATE MATERIALIZED VIEW app.empty (one) AS SELECT 1 WITH NO DATA;

-- Foreign tables
CREATE SERVER "Files here" FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE app."From file" (id int NOT NULL, "Line" text OPTIONS (force_not_null 'true') COLLATE "C" DEFAULT 'x',
  CONSTRAINT id_positive CHECK (id > 0)) SERVER "Files here" OPTIONS (filename '/nowhere/it''s', format 'csv', "null" '');
COMMENT ON FOREIGN TABLE app."From file" IS 'Lines';
COMMENT ON COLUMN app."From file"."Line" IS 'A line';
CREATE TABLE app.mixed (a int) PARTITION BY LIST (a);
CREATE FOREIGN TABLE app.mixed_file PARTITION OF app.mixed FOR VALUES IN (1) SERVER "Files here" OPTIONS (filename '/nowhere');
CREATE FOREIGN TABLE app.file_child (extra text) INHERITS (app.second_parent) SERVER "Files here" OPTIONS (filename '/nowhere');

-- Triggers, rules, policies
CREATE TRIGGER "Touch it" BEFORE INSERT OR UPDATE OF "Name", mood ON app.customers FOR EACH ROW
  WHEN (NEW.ratio > 0.5) EXECUTE FUNCTION app.touch('it''s', '2');
CREATE TRIGGER disabled AFTER DELETE ON app.customers REFERENCING OLD TABLE AS "old ones" EXECUTE FUNCTION app.touch();
ALTER TABLE app.customers DISABLE TRIGGER disabled;
CREATE TRIGGER always AFTER TRUNCATE ON app.customers EXECUTE FUNCTION app.touch();
ALTER TABLE app.customers ENABLE ALWAYS TRIGGER always;
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON app.customers FROM app."Order" DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.customers ENABLE REPLICA TRIGGER late;
CREATE TRIGGER instead INSTEAD OF UPDATE ON app."A view" FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER of_parent AFTER INSERT ON app.events FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app."Events A" DISABLE TRIGGER of_parent;
COMMENT ON TRIGGER "Touch it" ON app.customers IS 'Touches';
CREATE RULE "No delete" AS ON DELETE TO app.parent WHERE OLD.a > 5 DO INSTEAD NOTHING;
CREATE RULE noted AS ON INSERT TO app.second_parent DO ALSO (SELECT 1; UPDATE app.parent SET b = NEW.b || ';');
ALTER TABLE app.second_parent DISABLE RULE noted;
COMMENT ON RULE noted ON app.second_parent IS 'Notes';
ALTER TABLE app.customers ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.customers FORCE ROW LEVEL SECURITY;
CREATE POLICY "Own rows" ON app.customers AS RESTRICTIVE FOR UPDATE TO CURRENT_USER, pg_monitor
  USING ("Name" = CURRENT_USER) WITH CHECK (EXISTS (SELECT FROM app.parent WHERE a = id));
CREATE POLICY everybody ON app.customers USING (true);
CREATE POLICY inserts ON app.customers FOR INSERT WITH CHECK (ratio > 0);
COMMENT ON POLICY everybody ON app.customers IS 'All';
CREATE EVENT TRIGGER "Watch it" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION app.watch();
ALTER EVENT TRIGGER "Watch it" ENABLE REPLICA;
CREATE EVENT TRIGGER watch_drops ON sql_drop EXECUTE FUNCTION app.watch();
ALTER EVENT TRIGGER watch_drops DISABLE;
COMMENT ON EVENT TRIGGER watch_drops IS 'Drops';
