"""Inputs and payloads of users and sessions. The values are validated in `db.users`."""

import strawberry

from db.users import SessionTokens, UserRow
from graph.kit.fields import attribute
from graph.users.types import ClientSession, User


def _redacted_repr(secret: object) -> str:
    """Keeps passwords and tokens out of tracebacks in the log."""
    return f"{type(secret).__name__}(...)"


@strawberry.input(description="Input of `signUp`.")
class SignUpInput:
    __repr__ = _redacted_repr

    email: str = attribute("E-mail address to sign in with, up to 254 characters.")
    password: str = attribute("Password, 8 to 1024 bytes in UTF-8.")
    name: str = attribute("Display name, 1 to 100 characters.")


@strawberry.input(description="Input of `signIn`.")
class SignInInput:
    __repr__ = _redacted_repr

    email: str = attribute("E-mail address of the account.")
    password: str = attribute("Password of the account.")


@strawberry.input(description="Input of `refreshSession`.")
class RefreshSessionInput:
    __repr__ = _redacted_repr

    refresh_token: str = attribute(
        "Latest refresh token of the session. Sending one that was already used revokes the "
        "session, except for a repetition of the last `refreshSession` within 30 seconds."
    )


@strawberry.input(description="Input of `signOut`.")
class SignOutInput:
    __repr__ = _redacted_repr

    refresh_token: str = attribute("Latest refresh token of the session to end.")


@strawberry.input(description="Input of `changePassword`.")
class ChangePasswordInput:
    __repr__ = _redacted_repr

    current_password: str = attribute("Current password.")
    new_password: str = attribute("New password, 8 to 1024 bytes in UTF-8.")


@strawberry.input(description="Input of `updateViewer`.")
class UpdateViewerInput:
    name: str = attribute("New display name, 1 to 100 characters.")


@strawberry.type(description="Payload of `signUp`.")
class SignUpPayload:
    session: SessionTokens = attribute("First session of the new account.", type=ClientSession)
    user: UserRow = attribute("The created user.", type=User)


@strawberry.type(description="Payload of `signIn`.")
class SignInPayload:
    session: SessionTokens = attribute("The new session.", type=ClientSession)
    user: UserRow = attribute("The signed-in user.", type=User)


@strawberry.type(description="Payload of `refreshSession`.")
class RefreshSessionPayload:
    session: SessionTokens = attribute(
        "The session with new tokens. They replace the previous ones.", type=ClientSession
    )
    user: UserRow = attribute("The user of the session.", type=User)


@strawberry.type(description="Payload of `signOut`.")
class SignOutPayload:
    signed_out: bool = attribute("Always true. A failure is reported as an error instead.")


@strawberry.type(description="Payload of `changePassword`.")
class ChangePasswordPayload:
    session: SessionTokens = attribute(
        "A new session. All previous sessions are revoked; their access tokens stop working "
        "within 60 seconds.",
        type=ClientSession,
    )
    user: UserRow = attribute("The user with the new password.", type=User)


@strawberry.type(description="Payload of `updateViewer`.")
class UpdateViewerPayload:
    user: UserRow = attribute("The viewer with the new name.", type=User)
