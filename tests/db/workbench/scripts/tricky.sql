-- a comment; before
SELECT ';', E'\';', E'a'';', U&'\0061;', U&"b;", ";""", 'it''s;', B'1', x'1f', n';' ;; ;
/* a /* nested ; */ ; */ SELECT $$;$$, $a$;$$;$a$, $é$;$é$, $1, a$b$ ;SELECT 2--;
;SELECT (1; 2); SELECT 3) ; SELECT [1;2];
SELECT E'open'
  '\'; SELECT 4;
SELECT 1e';', 1.e';', 1_000, 0x1f, .5e1, 1..10, $1$$;$$, 1e-5; SELECT 1e5$$;
SELECT +/*;*/-1, 1--;
 , a :: b, :name, :'name', :"name", c := d, @-- ;
 e;
CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC
  SELECT CASE WHEN a THEN 1 ELSE 2 END; SELECT (SELECT CASE WHEN b THEN 1 END); END;
CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC INSERT INTO t VALUES (1); END; SELECT 5;
CREATE FUNCTION g() AS $body$ BEGIN; END; $body$; BEGIN; SELECT 6; END;
CREATE VIEW begin AS SELECT CASE WHEN a THEN 1 END; SELECT "BEGIN";
CREATE RULE r AS ON INSERT TO p DO ALSO (SELECT 1; SELECT 2);
COPY t (a, "from") FROM stdin WITH (FORMAT text); SELECT 7; copy u from STDOUT; -- both
1	it's; "x
\N	\\.
\.
2	3
\.
COPY (SELECT 1) TO STDOUT; COPY t FROM 'file'; COPY BINARY t FROM stdin;
\.
SELECT
8 /* last; */
