"""Queries and mutations of users and sessions."""

from typing import Annotated

import strawberry

from db.users import OwnUser, UserRow
from graph.auth import Anyone, SignedIn
from graph.context import Info
from graph.kit.fields import argument, mutation, query
from graph.users.inputs import (
    ChangePasswordInput,
    ChangePasswordPayload,
    RefreshSessionInput,
    RefreshSessionPayload,
    SignInInput,
    SignInPayload,
    SignOutInput,
    SignOutPayload,
    SignUpInput,
    SignUpPayload,
    UpdateViewerInput,
    UpdateViewerPayload,
)
from graph.users.types import User, UserById


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
        "Creates an account and signs in. "
        "Fails with `FORBIDDEN` if the operator has disabled sign-up. "
        "Ignores an access token that is not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def sign_up(
        self, info: Info, input: Annotated[SignUpInput, argument("Account to create.")]
    ) -> SignUpPayload:
        signed_in = await info.context.services.identity.sign_up(
            email=input.email,
            password=input.password,
            name=input.name,
            address=info.context.client_address,
        )
        return SignUpPayload(session=signed_in.session, user=signed_in.user)

    @mutation(
        "Signs in with e-mail address and password, and opens a session. "
        "Ignores an access token that is not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def sign_in(
        self, info: Info, input: Annotated[SignInInput, argument("Credentials of the account.")]
    ) -> SignInPayload:
        signed_in = await info.context.services.identity.sign_in(
            email=input.email, password=input.password, address=info.context.client_address
        )
        return SignInPayload(session=signed_in.session, user=signed_in.user)

    @mutation(
        "Exchanges a refresh token for new tokens. A repeated request within 30 seconds gets the "
        "same new refresh token; later the old one is invalid. Ignores an access token that is "
        "not valid.",
        who=Anyone,
        ignores_token=True,
    )
    async def refresh_session(
        self, info: Info, input: Annotated[RefreshSessionInput, argument("Session to refresh.")]
    ) -> RefreshSessionPayload:
        signed_in = await info.context.services.identity.refresh(input.refresh_token)
        return RefreshSessionPayload(session=signed_in.session, user=signed_in.user)

    @mutation(
        "Ends a session of the viewer. Its access tokens stop working within 60 seconds.",
        who=SignedIn,
    )
    async def sign_out(
        self, info: Info, input: Annotated[SignOutInput, argument("Session to end.")]
    ) -> SignOutPayload:
        user_id = info.context.signed_in.id
        await info.context.services.identity.sign_out(user_id, input.refresh_token)
        return SignOutPayload(signed_out=True)

    @mutation(
        "Changes the viewer's password, revokes all sessions and opens a new one.",
        who=SignedIn,
    )
    async def change_password(
        self,
        info: Info,
        input: Annotated[ChangePasswordInput, argument("Current and new password.")],
    ) -> ChangePasswordPayload:
        signed_in = await info.context.services.identity.change_password(
            info.context.signed_in.id,
            current=input.current_password,
            new=input.new_password,
            address=info.context.client_address,
        )
        return ChangePasswordPayload(session=signed_in.session, user=signed_in.user)

    @mutation("Changes the display name of the viewer.", who=SignedIn)
    async def update_viewer(
        self, info: Info, input: Annotated[UpdateViewerInput, argument("The new name.")]
    ) -> UpdateViewerPayload:
        user = await info.context.write(OwnUser, lambda own: own.rename(input.name))
        return UpdateViewerPayload(user=user)
