from pathlib import Path

import asyncpg

from db.demo import Shop
from db.demo.shop import HOST, NAME

# Every value is computed from row numbers: a change of shop.sql changes this, nothing else may.
ITEMS = "c26e781d015b4df9a92f80610ccba4d1"

UNDESCRIBED = """SELECT relname FROM pg_class
WHERE relnamespace IN ('shop'::regnamespace, 'reporting'::regnamespace)
  AND relkind IN ('r', 'v', 'm') AND obj_description(oid, 'pg_class') IS NULL"""


async def test_shop_has_the_same_rows_in_each_build(tmp_path: Path) -> None:
    async with await Shop.open(tmp_path) as shop:
        connection = await asyncpg.connect(
            host=HOST,
            port=shop.port,
            user=NAME,
            password=await shop.renew_password(),
            database=NAME,
            ssl=False,
        )
        try:
            digest = "md5(string_agg(items::text, '' ORDER BY order_id, position))"
            items = f"SELECT {digest} FROM shop.order_items AS items"  # noqa: S608 - constants
            assert await connection.fetchval(items) == ITEMS
            assert await connection.fetch(UNDESCRIBED) == []
            order = "INSERT INTO shop.orders (customer_id, address_id) VALUES (1, 1) RETURNING id"
            assert await connection.fetchval(order) == 1501
            item = "INSERT INTO shop.order_items VALUES (1501, 1, 1, 2, 5, 10)"
            await connection.execute(item)
            total = "SELECT total::text FROM shop.orders WHERE id = 1501"
            assert await connection.fetchval(total) == "9.00"
        finally:
            await connection.close()
