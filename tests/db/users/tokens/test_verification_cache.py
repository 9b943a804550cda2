from datetime import UTC, datetime, timedelta

from db.kit.base import new_id
from db.users.tokens.verification_cache import VerificationCache, VerifiedToken


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def verified(*, seconds: float = 900) -> VerifiedToken:
    return VerifiedToken(new_id(), "USER", datetime.now(UTC) + timedelta(seconds=seconds))


def test_cache_expires_after_ttl() -> None:
    clock = Clock()
    known = VerificationCache(clock=clock)
    ada = verified()
    known.put("token", ada, asked_at=known.forgotten)
    clock.now = 29.9
    assert known.get("token") is ada
    clock.now = 30
    assert known.get("token") is None
    assert len(known) == 0


def test_cache_expires_with_token() -> None:
    known = VerificationCache()
    known.put("token", verified(seconds=-1), asked_at=known.forgotten)
    assert known.get("token") is None


def test_cache_evicts_least_recently_used() -> None:
    known = VerificationCache(max_entries=2)
    for token in ("a", "b"):
        known.put(token, verified(), asked_at=known.forgotten)
    known.get("a")
    known.put("c", verified(), asked_at=known.forgotten)
    assert [known.get(token) is not None for token in ("a", "b", "c")] == [True, False, True]


def test_cache_forgets_all_tokens_of_user() -> None:
    known = VerificationCache()
    ada, bob = verified(), verified()
    for token, who in (("a1", ada), ("a2", ada), ("b", bob)):
        known.put(token, who, asked_at=known.forgotten)
    known.forget(ada.user_id)
    assert [known.get(token) for token in ("a1", "a2", "b")] == [None, None, bob]


def test_cache_stores_hashes_only() -> None:
    known = VerificationCache()
    known.put("a-token-to-be-kept-secret", verified(), asked_at=known.forgotten)
    assert "a-token-to-be-kept-secret" not in repr(known._known)


def test_cache_ignores_token_forgotten_during_verification() -> None:
    known = VerificationCache()
    asked_at = known.forgotten
    ada = verified()
    known.forget(ada.user_id)
    known.put("token", ada, asked_at=asked_at)
    assert known.get("token") is None
