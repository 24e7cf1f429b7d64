"""The status page: the files that Vite built, served from memory under a policy that lets nothing else run.

``headend/console/dist`` is made by ``build_console.py`` when the package is installed. Files below ``assets/`` carry a
hash in their name and never change; the page itself is asked for anew each time.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from headend.api.problem import Problem

DIST: Final = Path(__file__).parent.parent / "console" / "dist"
POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "media-src 'self' blob:",  # Media Source Extensions are a blob: address
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes | None
    etag: str
    kind: str
    cache: str


class Page:
    """The built files, read once."""

    def __init__(self, folder: Path = DIST) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and not path.name.startswith(".") and path.suffix != ".map":
                self._files["/" + path.relative_to(folder).as_posix()] = _read(path)

    def __contains__(self, path: object) -> bool:
        return path in self._files

    def response(self, request: web.Request, path: str) -> web.Response:
        """One file. Raises :class:`Problem` 404, or 503 when the page was never built."""
        path = "/index.html" if path == "/" else path
        if (file := self._files.get(path)) is None:
            if not self._files:
                raise Problem(
                    503,
                    "no-page",
                    "the status page was not built, so only the API and the channels are here; "
                    "run `python build_console.py` in the folder of the head end, then restart it",
                )
            raise Problem(404, "not-found", f"there is nothing at {path}")
        headers = {**HEADERS, "ETag": file.etag, "Cache-Control": file.cache, "Vary": "Accept-Encoding"}
        if file.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        body = file.body
        if file.packed is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = file.packed
        return web.Response(body=body, headers={**headers, "Content-Type": file.kind})


def _read(path: Path) -> _File:
    body = path.read_bytes()
    packed = gzip.compress(body, 6, mtime=0)
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    hashed = path.parent.name == "assets"
    return _File(
        body,
        packed if len(packed) < 0.9 * len(body) else None,
        '"' + hashlib.sha256(body).hexdigest()[:20] + '"',
        kind,
        "public, max-age=31536000, immutable" if hashed else "no-cache",
    )
