"""Serves the GraphiQL page and its assets, which `make graphiql` builds, from our own origin.

Files are read on request, so that a server without a build starts; its page then explains how to
build GraphiQL.
"""

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator, Mapping
from html import escape
from pathlib import Path, PurePath

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
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

# Monaco writes style elements and attributes, and its fonts and icons are data: URLs in style
# sheets. Scripts, workers and connections are limited to our own origin.
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
    "Cache-Control": "no-store",  # the page refers to the assets of this build
    "Content-Security-Policy": "; ".join(map(" ".join, _CONTENT_SECURITY_POLICY.items())),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

# Explicit, because `mimetypes` depends on the operating system, and with nosniff a script with a
# wrong type is not run.
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


_PIECE_BYTES = 65_536
_KEPT_HEADERS = ("Cache-Control", "Content-Type", "Vary", "X-Content-Type-Options")


def _is_text(path: str | os.PathLike[str]) -> bool:
    return PurePath(path).suffix in {".css", ".js", ".svg", ".ttf"}


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    """Sent whole, each connection that is not read would hold a copy."""
    for start in range(0, len(content), _PIECE_BYTES):
        yield content[start : start + _PIECE_BYTES]


async def page(request: Request, *, dist: Path = DIST) -> Response:
    """Returns the GraphiQL page, configured for the URL of the request.

    The page is public, so it never contains a token; see graph.transport.routes.sign_in.
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
    """Encodes JSON so that no value can end the enclosing script element."""
    text = json.dumps(config)
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def assets(dist: Path = DIST) -> ASGIApp:
    """The application for `/graphql/assets`."""
    return _Assets(dist)


class _Assets(StaticFiles):
    """The built files. Their names contain a hash, so browsers can cache them indefinitely.

    The editor has megabytes: each file is compressed at its first request and kept. To compress
    it for every request would give anybody a second of this process for a few bytes.
    """

    def __init__(self, dist: Path) -> None:
        super().__init__(directory=dist / "assets", check_dir=False)
        self._compressed: dict[str, bytes] = {}
        self._compressing = asyncio.Lock()

    async def check_config(self) -> None:
        """Accepts a missing folder: until GraphiQL is built, each file is a 404."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if not isinstance(response, FileResponse) or not _is_text(response.path):
            return response
        response.headers.add_vary_header("Accept-Encoding")
        if "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return response
        content = await self._compress(os.fspath(response.path))
        headers = {name: response.headers[name] for name in _KEPT_HEADERS}
        headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(content))}
        return StreamingResponse(_pieces(content), headers=headers)

    async def _compress(self, path: str) -> bytes:
        """One file at a time: the thread is shared with other work."""
        async with self._compressing:
            if path not in self._compressed:
                raw = await run_in_threadpool(Path(path).read_bytes)
                self._compressed[path] = await run_in_threadpool(gzip.compress, raw, 6)
        return self._compressed[path]

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
