"""People: signing up, in and out, and who the viewer is."""

from datetime import datetime
from typing import Annotated

import strawberry

from db.users import OwnUser, SessionTokens, UserRow
from graph.auth import Anyone, Role, SignedIn
from graph.context import Info
from graph.kit.fields import argument, field, mutation, plain, query
from graph.kit.ids import Node, node
from graph.kit.loaders import ById


def without_values(secretive: object) -> str:
    """What a traceback in a log may show of an input that holds a secret."""
    return f"{type(secretive).__name__}(...)"


class UserById(ById[UserRow]):
    """The viewer themselves; nobody else is to be found."""

    repository = OwnUser


@strawberry.type(description="A person.")
@node("user", row=UserRow, loader=UserById)
class User(Node):
    """Read from a UserRow."""

    email: str | None = plain("Where to write to; null when an outside issuer does not say.")
    name: str = plain("What to call them.")
    created_at: datetime = plain("When they were first seen.")

    @field("What they may do.")
    def role(root: strawberry.Parent[UserRow]) -> Role:
        return Role(root.role)


@strawberry.type(description="What a client needs to go on as somebody.")
class Session:
    """Read from SessionTokens."""

    access_token: str = plain("Goes with each request: `Authorization: Bearer <accessToken>`.")
    refresh_token: str = plain("Gives new tokens, once; keep it where nobody else reads it.")
    expires_at: datetime = plain("When the access token ends; use `refreshSession` before.")


@strawberry.input(description="A new account.")
class SignUpInput:
    """Checked in db.users."""

    __repr__ = without_values

    email: str = plain("The address to sign in with.")
    password: str = plain("8 to 1024 bytes.")
    name: str = plain("What to call the person: 1 to 100 characters.")


@strawberry.input(description="Who wants to come in.")
class SignInInput:
    """Checked in db.users."""

    __repr__ = without_values

    email: str = plain("The address of the account.")
    password: str = plain("Its password.")


@strawberry.input(description="A session to go on with.")
class RefreshSessionInput:
    """Checked in db.users."""

    __repr__ = without_values

    refresh_token: str = plain("The latest; one that was used before ends the session.")


@strawberry.input(description="A session to end.")
class SignOutInput:
    """Checked in db.users."""

    __repr__ = without_values

    refresh_token: str = plain("The session's refresh token.")


@strawberry.input(description="A new password.")
class ChangePasswordInput:
    """Checked in db.users."""

    __repr__ = without_values

    current_password: str = plain("The password until now.")
    new_password: str = plain("The password from now on: 8 to 1024 bytes.")


@strawberry.type(description="The new account, signed in.")
class SignUpPayload:
    """Holds both."""

    session: SessionTokens = plain("Its first session.", type=Session)
    user: UserRow = plain("Who it is.", type=User)


@strawberry.type(description="The account, signed in.")
class SignInPayload:
    """Holds both."""

    session: SessionTokens = plain("The new session.", type=Session)
    user: UserRow = plain("Who it is.", type=User)


@strawberry.type(description="The session with new tokens; the old refresh token is used up.")
class RefreshSessionPayload:
    """Holds both."""

    session: SessionTokens = plain("The session as it goes on.", type=Session)
    user: UserRow = plain("Whose it is.", type=User)


@strawberry.type(description="The session has ended; its access tokens stop within a minute.")
class SignOutPayload:
    """Says so."""

    signed_out: bool = plain("Always true; anything else is an error.")


@strawberry.type(description="The account with its new password; all older sessions have ended.")
class ChangePasswordPayload:
    """Holds both."""

    session: SessionTokens = plain("A new one; older tokens stop within a minute.", type=Session)
    user: UserRow = plain("Whose it is.", type=User)


@strawberry.type
class Query:
    """What can be asked."""

    @query("Who the token says I am; null when there is none.", who=Anyone, type=User | None)
    async def viewer(self, info: Info) -> UserRow | None:
        viewer = info.context.viewer
        return None if viewer is None else await UserById.of(info.context).load(viewer.id)


@strawberry.type
class Mutation:
    """What can be changed."""

    @mutation("Makes an account and signs it in; the operator can switch this off.", who=Anyone)
    async def sign_up(
        self, info: Info, input: Annotated[SignUpInput, argument("The account.")]
    ) -> SignUpPayload:
        signed_in = await info.context.services.identity.sign_up(
            email=input.email,
            password=input.password,
            name=input.name,
            address=info.context.client_address,
        )
        return SignUpPayload(session=signed_in.session, user=signed_in.user)

    @mutation("Opens a session.", who=Anyone)
    async def sign_in(
        self, info: Info, input: Annotated[SignInInput, argument("Who, and the proof.")]
    ) -> SignInPayload:
        signed_in = await info.context.services.identity.sign_in(
            email=input.email, password=input.password, address=info.context.client_address
        )
        return SignInPayload(session=signed_in.session, user=signed_in.user)

    @mutation("Gives a session new tokens.", who=Anyone)
    async def refresh_session(
        self, info: Info, input: Annotated[RefreshSessionInput, argument("The session.")]
    ) -> RefreshSessionPayload:
        signed_in = await info.context.services.identity.refresh(input.refresh_token)
        return RefreshSessionPayload(session=signed_in.session, user=signed_in.user)

    @mutation("Ends a session.", who=SignedIn)
    async def sign_out(
        self, info: Info, input: Annotated[SignOutInput, argument("The session.")]
    ) -> SignOutPayload:
        user_id = info.context.signed_in.id
        await info.context.services.identity.sign_out(user_id, input.refresh_token)
        return SignOutPayload(signed_out=True)

    @mutation("Changes my password, and ends every session but a new one.", who=SignedIn)
    async def change_password(
        self, info: Info, input: Annotated[ChangePasswordInput, argument("Both passwords.")]
    ) -> ChangePasswordPayload:
        signed_in = await info.context.services.identity.change_password(
            info.context.signed_in.id,
            current=input.current_password,
            new=input.new_password,
            address=info.context.client_address,
        )
        return ChangePasswordPayload(session=signed_in.session, user=signed_in.user)
