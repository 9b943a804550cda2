"""The GraphiQL page, served from the build that `make graphiql` makes; nothing leaves the origin.

No file is read before the first request: a server without a build starts as well, and says
what to do when a browser asks for the page.
"""

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path, PurePath

from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

__all__ = ["DIST", "assets", "page"]

DIST = Path(__file__).with_name("dist")

_CONFIG_SLOT = '<script type="application/json" id="howdah-config">{}</script>'

_NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Howdah</title>
<p>GraphiQL is not built yet: run <code>make graphiql</code> (it needs npm) and reload this page.
<p>The API itself works: send your operations by POST to <code>{endpoint}</code>.
</html>
"""

# Monaco writes style elements and style attributes, and its fonts and icons are data: URLs in
# the style sheets. Scripts, workers and connections are our own files and nothing else.
_CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "worker-src": "'self'",
    "connect-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "font-src": "'self' data:",
    "img-src": "'self' data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}

_PAGE_HEADERS = {
    "Cache-Control": "no-store",  # the page names the files of this build
    "Content-Security-Policy": "; ".join(map(" ".join, _CONTENT_SECURITY_POLICY.items())),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# Written out, because `mimetypes` asks the operating system, and with nosniff a wrong answer
# for a script is a blank page.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


async def page(request: Request, *, dist: Path = DIST) -> Response:
    """Answer GET with GraphiQL, set to the address it was asked at.

    The page never holds a token, since anyone may ask for it; see graph.transport.sign_in.
    """
    endpoint = request.url.path
    try:
        html = await run_in_threadpool((dist / "index.html").read_text, encoding="utf-8")
    except FileNotFoundError:
        return HTMLResponse(
            _NOT_BUILT.format(endpoint=escape(endpoint)), status_code=404, headers=_PAGE_HEADERS
        )
    config = {"endpoint": endpoint}
    return HTMLResponse(
        html.replace(_CONFIG_SLOT, _CONFIG_SLOT.replace("{}", _embeddable(config))),
        headers=_PAGE_HEADERS,
    )


def _embeddable(config: Mapping[str, str]) -> str:
    """JSON that cannot end the script element it stands in, whatever its values hold."""
    text = json.dumps(config)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def assets(dist: Path = DIST) -> ASGIApp:
    """The application to mount at `/graphql/assets`; compressed, as the editor is megabytes."""
    return GZipMiddleware(_Assets(dist), compresslevel=6)


class _Assets(StaticFiles):
    """The built files: named by their content, so a browser may keep them for ever."""

    def __init__(self, dist: Path) -> None:
        super().__init__(directory=dist / "assets", check_dir=False)

    async def check_config(self) -> None:
        """Accept a missing folder: the build may come later, until then each file is a 404."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if media_type := _MEDIA_TYPES.get(PurePath(full_path).suffix):
            response.headers["Content-Type"] = media_type
        return response
