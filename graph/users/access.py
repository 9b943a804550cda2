"""Queries and mutations of the viewer's own access: sessions, and tokens for programs."""

from typing import Annotated

import strawberry

from db.kit.lists.paging import Window
from db.users import AccessTokenList, SessionList, make_token
from graph.auth import SignedIn
from graph.context import Info
from graph.kit.fields import argument, mutation, query
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, paged
from graph.users.own_sessions import EndSessionInput, EndSessionPayload, UserSession
from graph.users.tokens import (
    AccessToken,
    CreateAccessTokenInput,
    CreateAccessTokenPayload,
    RevokeAccessTokenInput,
    RevokeAccessTokenPayload,
)


@strawberry.type
class Query:
    @query(
        "The viewer's sessions that have not ended, newest first. Requires a session.",
        who=SignedIn,
        type=Connection[UserSession],
    )
    @paged
    async def my_sessions(self, info: Info, window: Window) -> Listing:
        context = info.context
        page = await context.read(SessionList, lambda sessions: sessions.page(window))
        return Listing(page, lambda: context.read(SessionList, SessionList.count))

    @query(
        "The viewer's access tokens for programs, newest first. An expired token stays in the list "
        "for 30 days. Requires a session.",
        who=SignedIn,
        type=Connection[AccessToken],
    )
    @paged
    async def access_tokens(self, info: Info, window: Window) -> Listing:
        context = info.context
        page = await context.read(AccessTokenList, lambda tokens: tokens.page(window))
        return Listing(page, lambda: context.read(AccessTokenList, AccessTokenList.count))


@strawberry.type
class Mutation:
    @mutation(
        "Ends a session of the viewer, on whatever device it is. Within a second its access tokens "
        "are refused, and its sockets, streams and links end. Requires a session.",
        who=SignedIn,
    )
    async def end_session(
        self, info: Info, input: Annotated[EndSessionInput, argument("Session to end.")]
    ) -> EndSessionPayload:
        context, session_id = info.context, parse_id("signin", input.id)
        await context.transact(SessionList, lambda sessions: sessions.end(session_id))
        await context.services.identity.access.announce(context.owner)
        return EndSessionPayload(ended_session_id=input.id)

    @mutation(
        "Creates an access token for a program: over HTTP, WebSocket and server-sent events it "
        "acts as the viewer, within its scopes. It cannot change tokens, passwords and sessions. "
        "Requires a session.",
        who=SignedIn,
    )
    async def create_access_token(
        self, info: Info, input: Annotated[CreateAccessTokenInput, argument("Token to create.")]
    ) -> CreateAccessTokenPayload:
        new = make_token()
        row = await info.context.transact(
            AccessTokenList,
            lambda tokens: tokens.create(
                name=input.name,
                scopes=input.scopes,
                expires_at=input.expires_at,
                token_hash=new.hash,
            ),
        )
        return CreateAccessTokenPayload(token=new.text, access_token=row)

    @mutation(
        "Revokes an access token of the viewer. Within a second it is refused, and its sockets, "
        "streams and links end. Requires a session.",
        who=SignedIn,
    )
    async def revoke_access_token(
        self, info: Info, input: Annotated[RevokeAccessTokenInput, argument("Token to revoke.")]
    ) -> RevokeAccessTokenPayload:
        context, token_id = info.context, parse_id("token", input.id)
        await context.transact(AccessTokenList, lambda tokens: tokens.revoke(token_id))
        await context.services.identity.access.announce(context.owner)
        return RevokeAccessTokenPayload(revoked_access_token_id=input.id)
