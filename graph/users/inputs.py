"""Inputs and payloads of users and sessions. The values are validated in `db.users`."""

from datetime import datetime

import strawberry

from db.users import UserRow
from graph.kit.fields import attribute, optional, redacted_repr
from graph.users.types import ClientSession, User

_COOKIE = (
    "If true, a browser keeps the refresh token in an `HttpOnly` cookie that only this server "
    "reads, and `session.refreshToken` is null. Another cookie keeps `session.deviceToken`. "
    "Requires HTTP and a page of this server's origin, or of an origin in "
    "`HOWDAH_ALLOWED_ORIGINS` on the same site. Defaults to false."
)
_NEW_VALUE = "New password, 8 to 1024 bytes in UTF-8. The 10,000 most common passwords are refused."


@strawberry.input(description="Input of `signUp`.")
class SignUpInput:
    __repr__ = redacted_repr

    email: str = attribute("E-mail address to sign in with, up to 254 characters.")
    password: str = attribute(
        "Password, 8 to 1024 bytes in UTF-8. The 10,000 most common passwords are refused."
    )
    name: str = attribute("Display name, 1 to 100 characters.")
    cookie: bool = optional(_COOKIE, default=False)


@strawberry.input(description="Input of `signIn`.")
class SignInInput:
    __repr__ = redacted_repr

    email: str = attribute("E-mail address of the account.")
    password: str = attribute("Password of the account.")
    device_token: str | None = optional(
        "`session.deviceToken` of an earlier sign-in on this device, so that wrong passwords of "
        "others do not lock it out. With `cookie`, a cookie keeps it. An unknown one is ignored.",
        default=None,
    )
    cookie: bool = optional(_COOKIE, default=False)


@strawberry.input(description="Input of `refreshSession`.")
class RefreshSessionInput:
    __repr__ = redacted_repr

    refresh_token: str | None = optional(
        "Latest refresh token of the session. Sending one that was already used revokes the "
        "session, except for a repetition of the last `refreshSession` within 30 seconds. Omit it "
        "to use and renew the refresh cookie of the browser.",
        default=None,
    )


@strawberry.input(description="Input of `signOut`.")
class SignOutInput:
    __repr__ = redacted_repr

    refresh_token: str | None = optional(
        "Latest refresh token of the session to end. Omit it to end the session of the refresh "
        "cookie, which is then deleted.",
        default=None,
    )


@strawberry.input(description="Input of `changePassword`.")
class ChangePasswordInput:
    __repr__ = redacted_repr

    current_password: str = attribute("Current password.")
    new_password: str = attribute(_NEW_VALUE)
    cookie: bool = optional(_COOKIE, default=False)


@strawberry.input(description="Input of `createPasswordReset`.")
class CreatePasswordResetInput:
    user_id: strawberry.ID = attribute("ID of the user who forgot the password.")


@strawberry.input(description="Input of `requestPasswordReset`.")
class RequestPasswordResetInput:
    email: str = attribute("E-mail address of the account whose password was forgotten.")


@strawberry.input(description="Input of `resetPassword`.")
class ResetPasswordInput:
    __repr__ = redacted_repr

    token: str = attribute("Token of a link of `createPasswordReset` or `requestPasswordReset`.")
    new_password: str = attribute(_NEW_VALUE)


@strawberry.input(description="Input of `updateViewer`.")
class UpdateViewerInput:
    name: str = attribute("New display name, 1 to 100 characters.")


@strawberry.type(description="Payload of `signUp`.")
class SignUpPayload:
    session: ClientSession = attribute("First session of the new account.")
    user: UserRow = attribute("The created user.", type=User)


@strawberry.type(description="Payload of `signIn`.")
class SignInPayload:
    session: ClientSession = attribute("The new session.")
    user: UserRow = attribute("The signed-in user.", type=User)


@strawberry.type(description="Payload of `refreshSession`.")
class RefreshSessionPayload:
    session: ClientSession = attribute(
        "The session with new tokens. They replace the previous ones."
    )
    user: UserRow = attribute("The user of the session.", type=User)


@strawberry.type(description="Payload of `signOut`.")
class SignOutPayload:
    signed_out: bool = attribute("Always true. A failure is reported as an error instead.")


@strawberry.type(description="Payload of `changePassword`.")
class ChangePasswordPayload:
    session: ClientSession = attribute(
        "A new session. All previous sessions are revoked; their access tokens stop working "
        "within a second."
    )
    user: UserRow = attribute("The user with the new password.", type=User)


@strawberry.type(description="Payload of `updateViewer`.")
class UpdateViewerPayload:
    user: UserRow = attribute("The viewer with the new name.", type=User)


@strawberry.type(description="Payload of `createPasswordReset`.")
class CreatePasswordResetPayload:
    __repr__ = redacted_repr

    url: str = attribute(
        "Link to a page of this server that asks for the new password. Send it to the user by a "
        "trusted way."
    )
    token: str = attribute(
        "Token of the link, for a page of your own that calls `resetPassword`. It can be used once."
    )
    expires_at: datetime = attribute("Time the link expires, one hour after its creation.")


@strawberry.type(description="Payload of `requestPasswordReset`.")
class RequestPasswordResetPayload:
    requested: bool = attribute("Always true, whether or not there is an account.")


@strawberry.type(description="Payload of `resetPassword`.")
class ResetPasswordPayload:
    user: UserRow = attribute(
        "The user with the new password. They have no session: sign in with it.", type=User
    )
