"""Drops the foreign keys and indexes of empty tables before a load, and makes them again after it.

Rows that are loaded into a table with its indexes enter each of them one by one: a million tasks
took 199 s, most of it for the trigrams of their texts. Primary keys and unique constraints stay:
the archive has the rows in the order of the primary key.
"""

from collections.abc import Sequence

import asyncpg

from db.backup.tables import Table, quoted

# A sort or a GIN index that fits into memory is made in one pass. The server's default is 64 MB.
_MEMORY = "SET LOCAL maintenance_work_mem TO '256MB'"

_FOREIGN_KEYS = """
SELECT conrelid::regclass::text AS on_table, quote_ident(conname) AS name,
       pg_get_constraintdef(oid) AS definition
FROM pg_constraint
WHERE contype = 'f' AND conrelid = ANY($1::text[]::regclass[])
ORDER BY oid
"""
_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index
WHERE indrelid = ANY($1::text[]::regclass[]) AND indisvalid AND NOT indisreplident
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = indexrelid)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
ORDER BY indexrelid
"""


async def drop_indexes(connection: asyncpg.Connection, tables: Sequence[Table]) -> list[str]:
    """Returns the statements that make them again. Call it in the transaction of the load."""
    names = [quoted(table.name) for table in tables]
    indexes = await connection.fetch(_INDEXES, names)
    keys = await connection.fetch(_FOREIGN_KEYS, names)
    for key in keys:
        await connection.execute(f"ALTER TABLE {key['on_table']} DROP CONSTRAINT {key['name']}")
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    return [
        *(index["definition"] for index in indexes),
        *(
            f"ALTER TABLE {key['on_table']} ADD CONSTRAINT {key['name']} {key['definition']}"
            for key in keys
        ),
    ]


async def make_indexes(connection: asyncpg.Connection, statements: Sequence[str]) -> None:
    """Makes the indexes, then the foreign keys, which check all rows at once.

    Raises:
        IntegrityConstraintViolationError: the rows break one of them.
    """
    await connection.execute(_MEMORY)
    for statement in statements:
        await connection.execute(statement)
