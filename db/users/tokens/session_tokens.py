"""What a client gets when it signs in or refreshes its session: tokens, or an error."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from db.errors import BadInput, HowdahError, Unauthenticated
from db.users.accounts import UserRow


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTokens:
    """The tokens of a session, as sent to the client."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: datetime
    expires_in: int
    """Seconds."""
    device_mark: str | None = field(default=None, repr=False)
    """After a sign-in with a password: see `db.users.tokens.device_marks`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInResult:
    session: SessionTokens
    user: UserRow

    @classmethod
    def of(
        cls,
        user: UserRow,
        access_token: str,
        refresh_token: str,
        expires_at: datetime,
        expires_in: int,
    ) -> "SignInResult":
        session = SessionTokens(
            access_token=access_token,
            refresh_token=refresh_token,
            expires_at=expires_at,
            expires_in=expires_in,
        )
        return cls(session=session, user=user)

    def with_mark(self, mark: str) -> "SignInResult":
        return replace(self, session=replace(self.session, device_mark=mark))


def ended_session() -> HowdahError:
    return Unauthenticated("This session is invalid or has ended.", hint="Sign in again.")


def wrong_refresh_token() -> HowdahError:
    return Unauthenticated("This refresh token is invalid or has expired.", hint="Sign in again.")


def unknown_refresh_token() -> HowdahError:
    return BadInput(
        "This refresh token does not belong to you.",
        hint="Send the latest refresh token of your session.",
        field="refreshToken",
    )
