-- Objects that PostgreSQL 15 has, and 14 has not. "Fast place" is a tablespace.
CREATE UNLOGGED SEQUENCE app.fleeting;
CREATE UNLOGGED TABLE app.logged_sequence (id int GENERATED ALWAYS AS IDENTITY, n serial);
ALTER SEQUENCE app.logged_sequence_id_seq SET LOGGED;
ALTER SEQUENCE app.logged_sequence_n_seq SET LOGGED;
CREATE TABLE app.nulls_once (a int, b int, UNIQUE NULLS NOT DISTINCT (a) WITH (fillfactor = 40) USING INDEX TABLESPACE "Fast place")
  TABLESPACE "Fast place";
CREATE UNIQUE INDEX nulls_index ON app.nulls_once (b) NULLS NOT DISTINCT TABLESPACE "Fast place" WHERE a > 0;
CREATE TABLE app.apart_there (a int4range, EXCLUDE USING gist (a WITH &&) USING INDEX TABLESPACE "Fast place" WHERE (a <> 'empty'));
CREATE TABLE app.parted_there (a int PRIMARY KEY USING INDEX TABLESPACE "Fast place", b int) PARTITION BY HASH (a) TABLESPACE "Fast place";
CREATE TABLE app.part_there PARTITION OF app.parted_there FOR VALUES WITH (modulus 1, remainder 0);
CREATE INDEX ON app.parted_there (b) TABLESPACE "Fast place";
CREATE MATERIALIZED VIEW app.seen_there TABLESPACE "Fast place" AS SELECT 1 AS one;
CREATE INDEX ON app.seen_there (one) TABLESPACE "Fast place";
CREATE VIEW app.invoker WITH (security_invoker = true, security_barrier = false) AS SELECT 1 AS one;
CREATE TABLE app.set_null (a int, b int, FOREIGN KEY (a, b) REFERENCES app.itself (parent, id) ON DELETE SET NULL (a));
