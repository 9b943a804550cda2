"""The allowance of one user in a minute, shared by replicas. Each CostAllowance is a replica."""

from uuid import uuid4

import pytest
from sqlalchemy import text

from db.errors import RateLimited, TooLarge
from db.postgres.statements import compile_change
from db.services import Services
from db.users import CostAllowance

LIMIT = 1_000
GRANT = LIMIT // 20
_AGE = compile_change(text("UPDATE rate_limits SET resets_at = now() - interval '1 second'"))


async def test_cost_allowance_is_shared_by_replicas(services: Services) -> None:
    user, other = uuid4(), uuid4()
    first, second = (CostAllowance(services.database, LIMIT) for _ in range(2))
    assert first.standing(user).remaining == LIMIT
    await first.spend(user, 1)
    assert first.standing(user).remaining == LIMIT - 1
    await second.spend(user, 600)
    assert second.standing(user).remaining == LIMIT - 600 - GRANT
    with pytest.raises(RateLimited, match="of this minute are left") as refused:
        await first.spend(user, 400)
    assert 1 <= (refused.value.retry_after_s or 0) <= 60
    assert refused.value.hint
    await first.spend(user, 300)  # a smaller one still fits
    await second.spend(other, LIMIT)


async def test_cost_allowance_is_whole_in_the_next_window(services: Services) -> None:
    user, now = uuid4(), 0.0
    allowance = CostAllowance(services.database, LIMIT, clock=lambda: now)
    await allowance.spend(user, LIMIT)
    with pytest.raises(RateLimited):
        await allowance.spend(user, 1)
    await services.database.write(lambda session: session.rows(_AGE))
    now = 61.0
    assert allowance.standing(user).remaining == LIMIT
    await allowance.spend(user, LIMIT)


async def test_cost_allowance_refuses_what_never_fits(services: Services) -> None:
    allowance = CostAllowance(services.database, LIMIT)
    with pytest.raises(TooLarge, match="a user may request 1,000 in a minute"):
        await allowance.spend(uuid4(), LIMIT + 1)


async def test_cost_allowance_grants_again_what_others_spent_meanwhile(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, write = uuid4(), services.database.write
    allowance = CostAllowance(services.database, LIMIT)
    await allowance.spend(user, 1)

    async def write_while_another_spends(work: object) -> object:
        monkeypatch.setattr(services.database, "write", write)
        await allowance.spend(user, GRANT - 1)
        return await write(work)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(services.database, "write", write_while_another_spends)
    await allowance.spend(user, 3 * GRANT)
    assert allowance.standing(user).remaining == LIMIT - 4 * GRANT


async def test_cost_allowance_takes_few_statements(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, writes, write = uuid4(), 0, services.database.write

    async def counted(work: object) -> object:
        nonlocal writes
        writes += 1
        return await write(work)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(services.database, "write", counted)
    allowance = CostAllowance(services.database, LIMIT)
    for _ in range(LIMIT):
        await allowance.spend(user, 1)
    assert writes == LIMIT // GRANT
    for _ in range(5):
        with pytest.raises(RateLimited):
            await allowance.spend(user, 1)
    assert writes == LIMIT // GRANT  # a user over the limit costs the database nothing
