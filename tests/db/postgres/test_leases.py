import asyncio

import pytest

from db.errors import Overloaded, Unavailable
from db.postgres.leases import open_pool


class Driver:
    """The part of an asyncpg connection that a pool calls."""

    def __init__(self) -> None:
        self.closed = False
        self.in_transaction = False

    def is_closed(self) -> bool:
        return self.closed

    def is_in_transaction(self) -> bool:
        return self.in_transaction

    def terminate(self) -> None:
        self.closed = True


async def connect(_deadline: float) -> Driver:
    return Driver()


@pytest.mark.parametrize("state", ["closed", "in_transaction", "unsettled"])
async def test_lease_in_doubt_is_not_lent_again(state: str) -> None:
    pool = open_pool(connect, size=1, wait_ms=10_000)
    lease = await pool.acquire()
    if state == "unsettled":
        lease.settled = False
    else:
        setattr(lease.driver, state, True)
    pool.release(lease)
    assert (pool.in_use, lease.driver.closed) == (0, True)
    assert await pool.acquire() is not lease


async def test_overload_is_reported_with_the_wait_and_the_time_of_a_retry() -> None:
    pool = open_pool(connect, size=1, wait_ms=200)
    await pool.acquire()
    with pytest.raises(Overloaded, match="within 200 ms") as refused:
        await pool.acquire()
    assert refused.value.retry_after_s == 1


async def test_lease_of_connection_that_does_not_close_is_terminated() -> None:
    class Stubborn(Driver):
        async def close(self, **_: object) -> None:
            await asyncio.sleep(0)
            self.terminate()  # what asyncpg does first
            raise TimeoutError

    driver = Stubborn()
    pool = open_pool(connect, size=1, wait_ms=10_000, first=driver)
    await pool.close()
    assert driver.closed
    with pytest.raises(Unavailable, match="stopping"):
        await pool.acquire()
