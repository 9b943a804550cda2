"""`POST /graphql/sign-in` exchanges the code of a one-time sign-in link for an access token.

A development server prints the link in its terminal; GraphiQL sends its code. The code alone signs
in. The other conditions prevent the use of a leaked code through a proxy, from another machine or
by another web page.

`POST /graphql/sign-in/renew` exchanges the token for a new one of the same session, under the same
conditions; see docs/decisions/0024-renewal-of-link-sessions.md.
"""

import asyncio
from datetime import timedelta
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from db.errors import BadInput, Forbidden, NotFound, TooLarge, Unauthenticated
from db.settings import Settings
from db.users import Device, SignInLinks
from graph.context import address_of
from graph.transport.files.byte_responses import UNTRUSTED_CONTENT_HEADERS, json_errors
from graph.transport.gateway import gateway_of
from graph.transport.middleware.proxies import forwarding_header, is_local
from graph.transport.routes.user_commands import user_command

TOKEN_SECONDS = 8 * 3_600
"""A working day. There is no refresh token, which would be valid for 30 days if stolen."""

SESSION_LIFE = timedelta(days=7)
"""Renewal does not extend it. Until it ends, also an expired token is renewed: a page that slept
overnight stays signed in."""

_BODY_BYTES = 1_024


class SignInRequest(msgspec.Struct):
    code: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9_-]{1,100}$")]


_decode = msgspec.json.Decoder(SignInRequest).decode


def routes() -> list[Route]:
    """The routes that `graph.app` mounts."""
    return [
        Route("/graphql/sign-in", json_errors(exchange), methods=["POST"]),
        Route("/graphql/sign-in/renew", json_errors(renew), methods=["POST"]),
    ]


async def exchange(request: Request) -> Response:
    """Returns `{"accessToken": "...", "expiresIn": seconds}`.

    A rejected request does not use up the link.
    """
    services = gateway_of(request).services
    _require_local_caller(request, services.settings)
    code = await _read_code(request)
    links = SignInLinks(services.settings.data_dir)
    if not await asyncio.to_thread(links.claim, code):
        raise Forbidden(
            "This sign-in link was already used or is no longer valid.",
            hint=_new_link(services.settings),
        )
    user = await services.identity.local_admin()
    token = await services.identity.issue(
        user,
        seconds=TOKEN_SECONDS,
        session_life=SESSION_LIFE,
        device=Device(address_of(request.scope), request.headers.get("user-agent", "")),
        method="link",
    )
    return _token_response(token)


async def renew(request: Request) -> Response:
    """Returns the same as `exchange`, for the token of a link in the `Authorization` header."""
    services = gateway_of(request).services
    identity, settings = services.identity, services.settings
    _require_local_caller(request, settings)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthenticated("The request has no access token.", hint=_new_link(settings))
    try:
        user = await identity.local_admin()
        renewed = await identity.renew(user, token, seconds=TOKEN_SECONDS)
    except Unauthenticated as error:
        raise Unauthenticated(error.message, hint=_new_link(settings)) from None
    return _token_response(renewed)


def _new_link(settings: Settings) -> str:
    """The hint to get a new link. It names the data folder, so only local callers receive it."""
    return f"Run `{user_command(settings, 'sign-in-link')}` to get a new link."


def _token_response(token: str) -> JSONResponse:
    return JSONResponse(
        {"accessToken": token, "expiresIn": TOKEN_SECONDS},
        headers=UNTRUSTED_CONTENT_HEADERS | {"Cache-Control": "no-store"},
    )


def _require_local_caller(request: Request, settings: Settings) -> None:
    if not settings.allows_sign_in_links:
        raise NotFound(
            "This server has no sign-in links.",
            hint="Sign in with `signIn`, or ask the operator to run `howdah user token`.",
        )
    if header := forwarding_header(dict(request.scope["headers"])):
        raise Forbidden(
            f"A sign-in link does not work through a proxy (header {header}).",
            hint="Open the link as the terminal shows it, in a browser on the server's machine.",
        )
    if not is_local(request):
        raise Forbidden(
            "A sign-in link works only on the machine of the server.",
            hint="Open the link as the terminal shows it, or forward the port with `ssh -L`.",
        )
    own_origin = f"http://{request.headers.get('host')}"
    if request.headers.get("origin", own_origin) != own_origin:
        raise Forbidden(
            "A sign-in link cannot be used by another web page.",
            hint="Open the link as the terminal shows it.",
        )


async def _read_code(request: Request) -> str:
    if request.headers.get("content-type") != "application/json":
        raise BadInput(
            "The request body is not declared as JSON.",
            hint="Send `Content-Type: application/json`.",
        )
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_BYTES:
            raise TooLarge(
                f"The request body is larger than {_BODY_BYTES:,} bytes.",
                hint='Send only {"code": "..."}.',
            )
    try:
        return _decode(body).code
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadInput(
            "The request body contains no sign-in code.",
            hint='Send {"code": "..."} with the text after `#sign-in=` of the link.',
        ) from None
