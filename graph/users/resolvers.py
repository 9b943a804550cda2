"""Queries and mutations of users and sessions."""

from typing import Annotated

import strawberry

from db.users import Device, OwnUser, SessionTokens, UserRow
from graph.auth import AdminOnly, Anyone, SignedIn
from graph.context import Context, Info
from graph.kit.fields import argument, mutation, query
from graph.kit.ids import parse_id
from graph.users.inputs import (
    ChangePasswordInput,
    ChangePasswordPayload,
    CreatePasswordResetInput,
    CreatePasswordResetPayload,
    RefreshSessionInput,
    RefreshSessionPayload,
    RequestPasswordResetInput,
    RequestPasswordResetPayload,
    ResetPasswordInput,
    ResetPasswordPayload,
    SignInInput,
    SignInPayload,
    SignOutInput,
    SignOutPayload,
    SignUpInput,
    SignUpPayload,
    UpdateViewerInput,
    UpdateViewerPayload,
)
from graph.users.password_reset_url import password_reset_url
from graph.users.types import ClientSession, User, UserById


@strawberry.type
class Query:
    @query(
        "The user the access token identifies. Returns null if the request has no token.",
        who=Anyone,
        type=User | None,
    )
    async def viewer(self, info: Info) -> UserRow | None:
        viewer = info.context.viewer
        return None if viewer is None else await UserById.of(info.context).load(viewer.id)


@strawberry.type
class Mutation:
    @mutation(
        "Creates an account and signs in. Fails with `CONFLICT` if the e-mail address has an "
        "account, and with `FORBIDDEN` if the operator has disabled sign-up. "
        "Ignores an access token that is not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def sign_up(
        self, info: Info, input: Annotated[SignUpInput, argument("Account to create.")]
    ) -> SignUpPayload:
        _check_cookie(info.context, input.cookie)
        signed_in = await info.context.services.identity.sign_up(
            email=input.email,
            password=input.password,
            name=input.name,
            address=info.context.client_address,
            user_agent=info.context.user_agent,
        )
        session = _deliver(info.context, signed_in.session, cookie=input.cookie)
        return SignUpPayload(session=session, user=signed_in.user)

    @mutation(
        "Signs in with e-mail address and password, and opens a session. Fails with "
        "`UNAUTHENTICATED` if they are wrong, and with `RATE_LIMITED` after too many wrong "
        "passwords. Ignores an access token that is not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def sign_in(
        self, info: Info, input: Annotated[SignInInput, argument("Credentials of the account.")]
    ) -> SignInPayload:
        _check_cookie(info.context, input.cookie)
        signed_in = await info.context.services.identity.sign_in(
            email=input.email,
            password=input.password,
            address=info.context.client_address,
            user_agent=info.context.user_agent,
            device_mark=info.context.refresh_cookie.read_device()
            if input.cookie
            else input.device_token,
        )
        session = _deliver(info.context, signed_in.session, cookie=input.cookie)
        return SignInPayload(session=session, user=signed_in.user)

    @mutation(
        "Exchanges a refresh token for new tokens. A repeated request within 30 seconds gets the "
        "same new refresh token; later the old one fails with `UNAUTHENTICATED` and ends the "
        "session. Without `refreshToken` it uses and renews the refresh cookie of the browser. "
        "Ignores an access token that is not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def refresh_session(
        self, info: Info, input: Annotated[RefreshSessionInput, argument("Session to refresh.")]
    ) -> RefreshSessionPayload:
        token = _refresh_token(info.context, input.refresh_token)
        signed_in = await info.context.services.identity.refresh(
            token, device=Device(info.context.client_address, info.context.user_agent)
        )
        cookie = input.refresh_token is None
        session = _deliver(info.context, signed_in.session, cookie=cookie)
        return RefreshSessionPayload(session=session, user=signed_in.user)

    @mutation(
        "Ends a session of the viewer. Its access tokens stop working within a second.",
        who=SignedIn,
    )
    async def sign_out(
        self, info: Info, input: Annotated[SignOutInput, argument("Session to end.")]
    ) -> SignOutPayload:
        user_id = info.context.signed_in.id
        token = _refresh_token(info.context, input.refresh_token)
        await info.context.services.identity.sign_out(user_id, token)
        if input.refresh_token is None:
            info.context.refresh_cookie.clear()
        return SignOutPayload(signed_out=True)

    @mutation(
        "Changes the viewer's password, revokes all sessions and opens a new one. Fails with "
        "`BAD_USER_INPUT` if `currentPassword` is wrong.",
        who=SignedIn,
    )
    async def change_password(
        self,
        info: Info,
        input: Annotated[ChangePasswordInput, argument("Current and new password.")],
    ) -> ChangePasswordPayload:
        _check_cookie(info.context, input.cookie)
        signed_in = await info.context.services.identity.change_password(
            info.context.signed_in.id,
            current=input.current_password,
            new=input.new_password,
            address=info.context.client_address,
            user_agent=info.context.user_agent,
        )
        session = _deliver(info.context, signed_in.session, cookie=input.cookie)
        return ChangePasswordPayload(session=session, user=signed_in.user)

    @mutation(
        "Creates a one-time link with which a user sets a new password. It voids the previous "
        "link of the user. Fails with `BAD_USER_INPUT` if they sign in at an external issuer. "
        "Requires the `ADMIN` role and a session.",
        who=AdminOnly,
        scopes=None,
    )
    async def create_password_reset(
        self,
        info: Info,
        input: Annotated[CreatePasswordResetInput, argument("User who forgot the password.")],
    ) -> CreatePasswordResetPayload:
        user_id = parse_id("user", input.user_id, argument="userId")
        reset = await info.context.services.identity.password_resets.create(user_id)
        return CreatePasswordResetPayload(
            url=password_reset_url(info.context.base_url, reset.token),
            token=reset.token,
            expires_at=reset.expires_at,
        )

    @mutation(
        "Mails a one-time link with which the user of an account sets a new password. The response "
        "is the same if there is no account with this address, or one without a password. Fails "
        "with `FORBIDDEN` if the operator has set up no mail server. Ignores an access token that "
        "is not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def request_password_reset(
        self,
        info: Info,
        input: Annotated[RequestPasswordResetInput, argument("Account to mail a link to.")],
    ) -> RequestPasswordResetPayload:
        base_url = (info.context.services.settings.public_url or "").rstrip("/")
        await info.context.services.identity.password_resets.request(
            input.email,
            address=info.context.client_address,
            link=lambda token: password_reset_url(base_url, token),
        )
        return RequestPasswordResetPayload(requested=True)

    @mutation(
        "Sets a new password with the token of a reset link, and revokes all sessions of the user; "
        "their access tokens stop working within a second. An unknown, used or expired token "
        "fails with `BAD_USER_INPUT`. Ignores an access token that is not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def reset_password(
        self, info: Info, input: Annotated[ResetPasswordInput, argument("Token and new password.")]
    ) -> ResetPasswordPayload:
        user = await info.context.services.identity.password_resets.use(
            input.token, password=input.new_password, address=info.context.client_address
        )
        return ResetPasswordPayload(user=user)

    @mutation("Changes the display name of the viewer.", who=SignedIn)
    async def update_viewer(
        self, info: Info, input: Annotated[UpdateViewerInput, argument("The new name.")]
    ) -> UpdateViewerPayload:
        user = await info.context.write(OwnUser, lambda own: own.rename(input.name))
        return UpdateViewerPayload(user=user)


def _check_cookie(context: Context, wanted: bool) -> None:  # noqa: FBT001 - of the input
    """Refuses a request that may not use the cookie before it has an effect."""
    if wanted:
        context.refresh_cookie.require_allowed()


def _refresh_token(context: Context, presented: str | None) -> str:
    """The token of the input, else of the cookie. An empty one counts as presented.

    Otherwise a script could send it to get the successor of the cookie's token in the body.
    """
    return context.refresh_cookie.read() if presented is None else presented


def _deliver(context: Context, session: SessionTokens, *, cookie: bool) -> ClientSession:
    """The tokens for the body of the response, after the refresh token was set as a cookie."""
    if cookie:
        days = context.services.settings.refresh_token_days
        context.refresh_cookie.write(session.refresh_token, seconds=days * 86_400)
        if session.device_mark is not None:
            context.refresh_cookie.write_device(session.device_mark)
    return ClientSession(
        access_token=session.access_token,
        refresh_token=None if cookie else session.refresh_token,
        expires_at=session.expires_at,
        expires_in=session.expires_in,
        device_token=None if cookie else session.device_mark,
    )
