"""Queries and mutations with which admins manage the accounts of others."""

from typing import Annotated

import strawberry

from db.kit.base import OwnerId
from db.kit.lists.paging import Window
from db.postgres.sessions import ReadSession
from db.users import Role, UserDirectory, UserRow
from graph.auth import AdminOnly
from graph.context import Info
from graph.kit.fields import argument, attribute, field, mutation, optional
from graph.kit.ids import parse_id
from graph.kit.paging import Connection, Listing, paged
from graph.users.types import User


@strawberry.input(description="Input of `updateUser`.")
class UpdateUserInput:
    id: strawberry.ID = attribute("ID of the user to change.")
    role: Role | None = optional("New role. Omit it to keep the role.", default=None)
    suspended: bool | None = optional(
        "True suspends the user, false resumes them. Omit it to change nothing.", default=None
    )


@strawberry.type(description="Payload of `updateUser`.")
class UpdateUserPayload:
    user: UserRow = attribute("The changed user.", type=User)


@strawberry.type
class Query:
    @field(
        "The users of this server, newest first. Requires the `ADMIN` role.",
        who=AdminOnly,
        type=Connection[User] | None,
    )
    @paged
    async def users(
        self,
        info: Info,
        window: Window,
        search: Annotated[
            str | None,
            argument(
                "Returns only users with this text in their name or e-mail address, ignoring case. "
                "1 to 200 characters."
            ),
        ] = None,
    ) -> Listing:
        context = info.context
        read = context.read if search is None else context.search
        page = await read(_directory, lambda users: users.page(window, search))
        return Listing(page, lambda: read(_directory, lambda users: users.count(search)))


@strawberry.type
class Mutation:
    @mutation(
        "Changes the role of a user, suspends or resumes them. A suspended user is signed out "
        "everywhere within a second and cannot sign in; their data stays, and their access tokens "
        "work again once they are resumed. Fails with `CONFLICT` for the last admin who can sign "
        "in. Requires the `ADMIN` role.",
        who=AdminOnly,
    )
    async def update_user(
        self, info: Info, input: Annotated[UpdateUserInput, argument("User and what to change.")]
    ) -> UpdateUserPayload:
        user = await info.context.services.identity.administration.update(
            parse_id("user", input.id), role=input.role, suspended=input.suspended
        )
        return UpdateUserPayload(user=user)


def _directory(session: ReadSession, _: OwnerId) -> UserDirectory[ReadSession]:
    return UserDirectory(session)
