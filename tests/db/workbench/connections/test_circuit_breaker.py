import asyncio

import pytest

from db.workbench.connections import circuit_breaker as module
from db.workbench.connections.circuit_breaker import Breaker
from db.workbench.connections.connection_errors import Unreachable

GONE = Unreachable("No PostgreSQL answered at here:1.", hint="Start it.", field="host")


@pytest.fixture
async def breaker() -> Breaker:
    found = Breaker()
    for _ in range(module.FAILURES):
        found.check()
        found.failed(GONE)
    return found


async def test_three_failures_make_the_next_fail_at_once(breaker: Breaker) -> None:
    with pytest.raises(Unreachable) as caught:
        breaker.check()
    assert caught.value.message == GONE.message
    assert 0 < (caught.value.retry_after_s or 0) <= module.OPEN_S


async def test_then_one_probe_decides(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    now = asyncio.get_running_loop().time() + module.OPEN_S
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now, raising=False)
    breaker.check()
    with pytest.raises(Unreachable):
        breaker.check()
    breaker.succeeded()
    breaker.check()
    breaker.check()


async def test_an_answer_in_between_counts_anew() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(module.FAILURES - 1):
            breaker.failed(GONE)
        breaker.check()
        breaker.succeeded()
