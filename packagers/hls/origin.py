"""The origin: serves the HLS windows of all channels from memory, and passes every other path on to the API.

It is the one process that viewers talk to, and it depends on nothing that can be away: the window is files in tmpfs,
which outlive it and the packager alike; the API behind its Unix socket may die, and only answers 503 until it is
back. Plain requests for media take the fast lane (:mod:`packagers.hls.connection`); the aiohttp application here
answers everything else, and media too where a connection mixes both, so that every request gets the same answer
either way.

``/healthz`` is the origin's own: 200 as long as it serves. ``/readyz`` is passed on like any other path.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from yarl import URL

from headend.clock import Clock, SystemClock, to_datetime
from packagers.hls.cache import PREFIX, Answer, WindowCache, problem
from packagers.hls.connection import Connection, Desk

CACHE: Final = web.AppKey("cache", WindowCache)
_SESSION: Final = web.AppKey("session", aiohttp.ClientSession)
_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection, not of the message (RFC 9110, 7.6.1)."""
_RETRY: Final = 1
_GRACE: Final = 5.0
_STREAM_GRACE: Final = 1.0
"""Seconds that what goes through aiohttp may take to end: event streams never do."""


def create_app(
    window_root: Path,
    *,
    api_socket: Path | None = None,
    cache_bytes: int = 256 << 20,
    segment_age: int = 120,
    playlist_age: int = 1,
) -> web.Application:
    """The whole origin as an aiohttp application, without the fast lane.

    ``window_root`` holds a folder per channel. ``api_socket`` is where paths outside ``/hls/`` go; None answers them
    404. ``segment_age`` and ``playlist_age`` are seconds that caches on the way may keep them; a segment's should not
    exceed how long the packager keeps it.
    """
    app = web.Application(client_max_size=1 << 40)
    app[CACHE] = WindowCache(window_root, limit=cache_bytes, segment_age=segment_age, playlist_age=playlist_age)
    app.router.add_get("/healthz", _healthz)
    app.router.add_route("*", "/hls/{tail:.*}", _media)
    if api_socket is None:
        app.router.add_route("*", "/{tail:.*}", _nowhere)
    else:
        socket = api_socket

        async def session(app: web.Application) -> AsyncIterator[None]:
            connector = aiohttp.UnixConnector(path=str(socket), limit=0)
            async with aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                # An event stream lasts for days; only reaching the API may not take long.
                timeout=aiohttp.ClientTimeout(total=None, connect=5, sock_connect=2),
            ) as made:
                app[_SESSION] = made
                yield

        app.cleanup_ctx.append(session)
        app.router.add_route("*", "/{tail:.*}", _pass_on)
    return app


class _Lower(Mapping[str, str]):
    """Headers of a request by lower-case name, repeated ones joined."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._headers = request.headers

    def __getitem__(self, name: str) -> str:
        values = self._headers.getall(name, None)
        if values is None:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Any:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)


def _response(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, headers=list(answer.headers), body=answer.body or None)


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response(
        {"status": "ok", "cache": request.app[CACHE].state()}, headers={"Cache-Control": "no-store"}
    )


async def _media(request: web.Request) -> web.Response:
    path = request.rel_url.raw_path
    if not path.startswith(PREFIX):
        return _response(problem(404, "Not found", "Media is below /hls/CHANNEL/."))
    return _response(request.app[CACHE].answer(request.method, path, _Lower(request)))


async def _nowhere(request: web.Request) -> web.Response:
    return _response(problem(404, "Not found", "Only media is served here, below /hls/CHANNEL/index.m3u8."))


async def _pass_on(request: web.Request) -> web.StreamResponse:
    """Hand a request to the API and its answer back, both as they come."""
    if not request.raw_path.startswith("/"):
        return _response(problem(400, "Bad request", "This is no proxy; ask for a path that begins with a slash."))
    unwanted = _HOP | {"x-forwarded-for", "x-forwarded-proto"}
    unwanted |= {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in unwanted]
    hops = [*request.headers.getall("X-Forwarded-For", ()), request.remote or "unknown"]
    headers += [("X-Forwarded-For", ", ".join(hops)), ("X-Forwarded-Proto", request.scheme)]
    try:
        upstream = await request.app[_SESSION].request(
            request.method,
            URL(f"http://api{request.raw_path}", encoded=True),
            headers=headers,
            data=request.content if request.body_exists else None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return _response(
            problem(
                503,
                "The API is away",
                "The process that answers this path is being restarted; channels stay on air. Try again in a second.",
                (("Retry-After", str(_RETRY)),),
            )
        )
    response = web.StreamResponse(status=upstream.status, reason=upstream.reason)
    for name, value in upstream.headers.items():
        if name.lower() not in _HOP:
            response.headers.add(name, value)
    try:
        await response.prepare(request)
        async for chunk in upstream.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
    except (aiohttp.ClientError, ConnectionError):
        # The viewer has gone, or the API has. Half an answer cannot be taken back: a broken connection tells of it.
        if request.transport is not None:
            request.transport.abort()
    finally:
        upstream.close()
    return response


class Origin:
    """A listening origin. Make it, ``await start(...)``, and at the end ``await stop()``.

    Several processes may serve one port with ``reuse_port``. The arguments are those of :func:`create_app`, and the
    clock that Date headers come from.
    """

    def __init__(
        self,
        window_root: Path,
        *,
        api_socket: Path | None = None,
        cache_bytes: int = 256 << 20,
        segment_age: int = 120,
        playlist_age: int = 1,
        clock: Clock | None = None,
    ) -> None:
        self.app = create_app(
            window_root,
            api_socket=api_socket,
            cache_bytes=cache_bytes,
            segment_age=segment_age,
            playlist_age=playlist_age,
        )
        self.cache = self.app[CACHE]
        self._clock = clock or SystemClock()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._desk: Desk | None = None

    async def start(self, host: str | None = "127.0.0.1", port: int = 8080, *, reuse_port: bool = False) -> int:
        """Listen; returns the port (useful with 0). Raises OSError if the port is taken."""
        # A viewer that goes away ends what was asked for it: an event stream would otherwise stay open for ever.
        runner = web.AppRunner(self.app, handle_signals=False, access_log=None, handler_cancellation=True)
        await runner.setup()
        assert runner.server is not None
        desk = Desk(self.cache, runner.server, self._date)
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Connection(desk), host, port, reuse_port=reuse_port or None, backlog=1024
            )
        except BaseException:
            desk.close()
            await runner.cleanup()
            raise
        self._runner, self._desk, self._server = runner, desk, server
        return int(server.sockets[0].getsockname()[1])

    def _date(self) -> str:
        return format_datetime(to_datetime(self._clock.now()), usegmt=True)

    async def stop(self, grace: float = _GRACE) -> None:
        """Accept no one else, finish the answers on their way for at most ``grace`` seconds, and close. Idempotent."""
        runner, desk, server = self._runner, self._desk, self._server
        if runner is None or desk is None or server is None:
            return
        self._runner = None
        server.close()
        desk.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await desk.empty()
        desk.abort()
        if runner.server is not None:
            await runner.server.shutdown(min(grace, _STREAM_GRACE))
        await runner.cleanup()

    def state(self) -> dict[str, Any]:
        """Connections, requests of the fast lane, cache."""
        desk = self._desk
        return {
            "serving": self._runner is not None,
            "connections": len(desk.connections) if desk else 0,
            "fast_requests": desk.requests if desk else 0,
            "handed_over": desk.handed_over if desk else 0,
            "cache": self.cache.state(),
        }
