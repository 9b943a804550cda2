-- Objects that PostgreSQL 18 has, and 17 has not.
CREATE TABLE app.named_not_null (
  id int GENERATED ALWAYS AS IDENTITY CONSTRAINT "Needs id" NOT NULL,
  a int CONSTRAINT "Needs a" NOT NULL NO INHERIT, b int, c int NOT NULL,
  virtual int GENERATED ALWAYS AS (a + b) VIRTUAL, stored int GENERATED ALWAYS AS (a * b) STORED,
  CONSTRAINT not_enforced CHECK (b > 0) NOT ENFORCED,
  CONSTRAINT parent_id FOREIGN KEY (c) REFERENCES app.circle_a NOT ENFORCED
);
ALTER TABLE app.named_not_null ADD CONSTRAINT "Not valid" NOT NULL b NOT VALID;
COMMENT ON CONSTRAINT "Needs a" ON app.named_not_null IS 'Named';
CREATE TABLE app.inherits_not_null (own int CONSTRAINT "Own" NOT NULL) INHERITS (app.named_not_null);
ALTER TABLE app.inherits_not_null ADD CONSTRAINT "Local too" NOT NULL a;
CREATE TABLE app.temporal (id int, valid_at daterange, PRIMARY KEY (id, valid_at WITHOUT OVERLAPS));
CREATE TABLE app.temporal_child (id int, valid_at daterange, parent int,
  FOREIGN KEY (parent, PERIOD valid_at) REFERENCES app.temporal (id, PERIOD valid_at));
CREATE TABLE app.not_null_partitioned (a int CONSTRAINT "A there" NOT NULL, b int) PARTITION BY LIST (a);
CREATE TABLE app.not_null_partition (b int CONSTRAINT "B there" NOT NULL, a int CONSTRAINT "A here" NOT NULL);
ALTER TABLE app.not_null_partitioned ATTACH PARTITION app.not_null_partition FOR VALUES IN (1, 2);
