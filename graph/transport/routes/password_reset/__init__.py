"""The page of a reset link (graph.users.password_reset_url), which asks for the new password.

The page is static and public: its script reads the token from the fragment of the address, which
the browser does not send, and calls `resetPassword`.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

_PAGE = Path(__file__).with_name("page.html")


def routes() -> list[Route]:
    """The routes that `graph.app` mounts."""
    return [Route("/reset-password", page)]


async def page(_: Request) -> Response:
    html, policy = _load()
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(html, headers=headers)


@cache
def _load() -> tuple[str, str]:
    """The page, and a policy that allows nothing but its own script, style and requests."""
    html = _PAGE.read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; script-src {_hashes('script', html)}; "
        f"style-src {_hashes('style', html)}; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _hashes(tag: str, html: str) -> str:
    texts = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
