import asyncio

import pytest

from db.errors import BadInput, Overloaded
from db.workbench.connections.connection_errors import Unreachable
from db.workbench.connections.pools import circuit_breaker as module
from db.workbench.connections.pools.circuit_breaker import Breaker

GONE = Unreachable("No PostgreSQL server responded at here:1.", hint="Start it.", field="host")
REFUSED = BadInput("The server refused this user or password.", hint="Check both.")


def attempt(breaker: Breaker, error: BaseException | None = None) -> None:
    with breaker.attempt():
        if error is not None:
            raise error


def fail(breaker: Breaker, error: BaseException = GONE) -> None:
    with pytest.raises(type(error)):
        attempt(breaker, error)


@pytest.fixture
async def breaker() -> Breaker:
    found = Breaker()
    for _ in range(module.FAILURES):
        fail(found)
    return found


@pytest.fixture
async def later(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time at which a probe is allowed."""
    del breaker
    now = asyncio.get_running_loop().time() + module.OPEN_S
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now, raising=False)


async def test_breaker_fails_at_once_after_three_failures(breaker: Breaker) -> None:
    with pytest.raises(Unreachable) as caught:
        attempt(breaker)
    assert caught.value.message == GONE.message
    assert breaker.is_open
    assert 0 < (caught.value.retry_after_s or 0) <= module.OPEN_S


@pytest.mark.usefixtures("later")
async def test_breaker_lets_one_probe_decide(breaker: Breaker) -> None:
    with breaker.attempt(), pytest.raises(Unreachable):
        attempt(breaker)
    attempt(breaker)
    assert not breaker.is_open
    attempt(breaker)


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("error", [asyncio.CancelledError(), Overloaded("full", hint="wait")])
async def test_breaker_allows_the_next_probe_after_one_without_a_result(
    breaker: Breaker, error: BaseException
) -> None:
    fail(breaker, error)
    fail(breaker)
    with pytest.raises(Unreachable):
        attempt(breaker)


async def test_breaker_stays_open_when_an_earlier_attempt_is_cancelled() -> None:
    breaker = Breaker()
    earlier = breaker.attempt()
    earlier.__enter__()
    for _ in range(module.FAILURES):
        fail(breaker)
    assert not earlier.__exit__(asyncio.CancelledError, asyncio.CancelledError(), None)
    with pytest.raises(Unreachable):
        attempt(breaker)


@pytest.mark.parametrize("answer", [None, REFUSED])
async def test_breaker_resets_its_count_after_an_answer(answer: BadInput | None) -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(module.FAILURES - 1):
            fail(breaker)
        if answer is None:
            attempt(breaker)
        else:
            fail(breaker, answer)
