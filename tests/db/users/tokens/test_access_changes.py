"""What a process forgets when the access of a user has changed."""

import asyncio
from datetime import UTC, datetime, timedelta

from db.concurrency.waiting import in_background
from db.events import EventBus
from db.kit.base import new_id
from db.users.tokens.access_changes import TOPIC, AccessChanges
from db.users.tokens.verification_cache import VerificationCache, VerifiedToken
from tests.fixtures.patience import patience


async def test_announcement_concerns_one_user_and_missed_ones_concern_all(
    events: EventBus,
) -> None:
    ada, bob = (
        VerifiedToken(new_id(), "USER", datetime.now(UTC) + timedelta(hours=1)) for _ in range(2)
    )
    verifications = VerificationCache()

    async def until_forgotten() -> None:
        before = verifications.forgotten
        async with patience():
            while verifications.forgotten == before:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.001)

    def known() -> list[bool]:
        return [verifications.get(token) is not None for token in ("ada", "bob")]

    changes = AccessChanges(events, verifications)
    async with in_background(changes.follow(), name="test: access"):
        await asyncio.sleep(0)  # it subscribes
        for token, verified in (("ada", ada), ("bob", bob)):
            verifications.put(token, verified, asked_at=verifications.forgotten)
        await AccessChanges(events, VerificationCache()).announce(ada.user_id)
        await until_forgotten()
        assert known() == [False, True]
        await events.publish(TOPIC, "")  # names no user, as after missed events
        await until_forgotten()
        assert known() == [False, False]
