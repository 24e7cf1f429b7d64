"""The web application: every request on its way in is counted, recognised, checked, carried out once, and answered.

It is served on a Unix socket; the origin, which listens where viewers are, passes on every path outside ``/hls/`` with
the client's address in ``X-Forwarded-For``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from headend.api import metrics, openapi
from headend.api.desk import Desk
from headend.api.events import Stream
from headend.api.idempotency import Answer, Answers
from headend.api.operations import OPERATIONS, Call, Guard, Operation
from headend.api.page import DIST, HEADERS, Page
from headend.api.problem import Problem, from_http, from_validation
from headend.api.token import Doorkeeper, Token
from headend.clock import to_iso

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STREAM: Final = web.AppKey("stream", Stream)
"""The event stream of an app."""
_LARGEST: Final = max(op.largest for op in OPERATIONS)
_RESTED: Final = 1.0


def create_app(
    desk: Desk, token: Token, *, loopback: bool = True, page: Path = DIST, log: Any = None, stream: Stream | None = None
) -> web.Application:
    """The application for a desk.

    ``loopback`` says that only this machine can reach the head end: then reading is free, else it takes the token too.
    """
    log = log or structlog.get_logger("api")
    stream = stream or Stream(run=secrets.token_hex(4), now=lambda: to_iso(desk.clock.now()))
    door = Doorkeeper()
    guard = _Guard(token, door, loopback)
    answers = Answers()
    registry = metrics.Metrics(desk, stream, door)
    files = Page(page)
    described = json.dumps(openapi.document(OPERATIONS, desk.config.version), ensure_ascii=False).encode()

    app = web.Application(middlewares=[_as_problems(log)], client_max_size=_LARGEST)
    app[STREAM] = stream

    async def document(_: web.Request) -> web.Response:
        return web.Response(
            body=described, headers={"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-cache"}
        )

    async def measured(request: web.Request) -> web.Response:
        guard.check(request, "read")
        body, kind = await registry.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind, "Cache-Control": "no-store"})

    async def shown(request: web.Request) -> web.Response:
        return files.response(request, request.path)

    app.router.add_get("/api/openapi.json", document)
    app.router.add_get("/metrics", measured)
    for op in OPERATIONS:
        app.router.add_route(op.method, op.path, _handler(op, desk, stream, guard, answers))
    app.router.add_get("/", shown)
    app.router.add_get(r"/{file:(?:assets/)?[\w.-]+}", shown)

    async def follow(_: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_follow(desk, stream, log))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await desk.close()

    async def hang_up(_: web.Application) -> None:
        stream.close()

    app.cleanup_ctx.append(follow)
    app.on_shutdown.append(hang_up)
    return app


class _Guard:
    """Decides whether a request may be carried out."""

    def __init__(self, token: Token, door: Doorkeeper, loopback: bool) -> None:
        self._token = token
        self._door = door
        self._loopback = loopback

    def check(self, request: web.Request, guard: Guard) -> None:
        """Raises :class:`Problem` 401 or 429."""
        if guard == "open" or (guard == "read" and self._loopback):
            return
        address = client(request)
        if (seconds := self._door.wait(address)) > 0:
            raise Problem(
                429,
                "too-many-tries",
                f"{address} has sent too many wrong tokens, so nothing from there is accepted for {seconds:.0f} s",
                headers={"Retry-After": str(max(1, round(seconds)))},
            )
        scheme, _, offered = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not offered.strip():
            raise Problem(
                401,
                "token-missing",
                "this request needs the administrator's token (HEADEND_TOKEN, or data/token); "
                "send it as `Authorization: Bearer TOKEN`",
                headers={"WWW-Authenticate": 'Bearer realm="headend"'},
            )
        if not self._token.matches(offered.strip()):
            self._door.failed(address)
            raise Problem(
                401,
                "token-wrong",
                "the token is not this head end's, so nothing was done; it is HEADEND_TOKEN, or stands in data/token",
                headers={"WWW-Authenticate": 'Bearer realm="headend", error="invalid_token"'},
            )


def client(request: web.Request) -> str:
    """Address of the client. Only the origin reaches the Unix socket, so its word is taken: the last one it added."""
    if request.remote:
        return request.remote
    said = request.headers.getall("X-Forwarded-For", [""])
    return said[-1].rpartition(",")[2].strip() or "local"


def _handler(op: Operation, desk: Desk, stream: Stream, guard: _Guard, answers: Answers) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        guard.check(request, op.guard)
        call = Call(desk, stream, request)
        if "channel" in request.match_info:
            desk.channel(request.match_info["channel"])
        if op.query:
            call.query = _query(op.query, request)
        elif request.query_string:
            raise Problem(
                422, "invalid", f"{op.path} takes no query, and a misspelt one would be ignored; leave it out"
            )
        raw = await _raw(op, request) if op.body else b""
        if op.body:
            call.body = _body(op.body, raw, request)
        key = request.headers.get("Idempotency-Key") if op.on_air else None
        if key is None:
            return _response(op, await op.run(call))

        async def act() -> Answer:
            try:
                response = _response(op, await op.run(call))
            except Problem as problem:
                response = problem.response()
            assert isinstance(response, web.Response)
            assert isinstance(response.body, bytes)
            return Answer(response.status, dict(response.headers), response.body)

        seal = raw + request.headers.get("If-Match", "").encode()
        answer, again = await answers.once(key, f"{op.method} {request.path}", seal, act)
        headers = {**answer.headers, "Idempotency-Replayed": "true" if again else "false"}
        return web.Response(status=answer.status, headers=headers, body=answer.body)

    return handle


def _response(op: Operation, result: Any) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    assert isinstance(result, BaseModel)
    headers = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}
    if op.answer is not None and op.answer.__name__ == "Schedule":
        headers["ETag"] = f'"{getattr(result, "version", "")}"'
    return web.Response(body=result.model_dump_json(by_alias=True).encode(), headers=headers)


async def _raw(op: Operation, request: web.Request) -> bytes:
    """The body, never more of it than the request takes."""
    if (request.content_length or 0) > op.largest:
        raise _too_large(op)
    body = bytearray()
    async for chunk in request.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > op.largest:
            raise _too_large(op)
    return bytes(body)


def _too_large(op: Operation) -> Problem:
    return Problem(
        413, "too-large", f"the body is larger than the {op.largest} bytes that {op.path} takes; send less at a time"
    )


def _body(model: type[BaseModel], raw: bytes, request: web.Request) -> BaseModel:
    if raw.strip():
        if request.content_type not in ("application/json", "application/merge-patch+json", "application/octet-stream"):
            raise Problem(
                415, "not-json", f"the body is {request.content_type}; this request takes application/json in UTF-8"
            )
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            if any(row["type"] == "json_invalid" for row in error.errors()):
                raise Problem(400, "malformed", f"the body is not JSON: {error.errors()[0]['msg']}") from None
            raise from_validation("the body", error) from None
    try:
        return model.model_validate({})
    except ValidationError as error:
        raise from_validation("the body", error) from None


def _query(model: type[BaseModel], request: web.Request) -> BaseModel:
    twice = [name for name in request.query if len(request.query.getall(name)) > 1]
    if twice:
        raise Problem(
            422, "invalid", f"the query says {twice[0]!r} more than once, so it is not clear which one is meant"
        )
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise from_validation("the query", error) from None


def _as_problems(log: Any) -> Any:
    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except Problem as problem:
            response = problem.response()
        except web.HTTPException as error:
            response = from_http(error, request.method, request.path).response()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("a request failed inside the head end", method=request.method, path=request.path)
            what = f"{request.method} {request.path}"
            response = Problem(
                500,
                "internal",
                f"{what} failed inside the head end; it was logged, and no channel is touched by it",
            ).response()
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    return answer


async def _follow(desk: Desk, stream: Stream, log: Any) -> None:
    """Pass on what the workers publish, as long as the app lives; a broken bus is taken up again."""
    while True:
        try:
            async for topic, payload in desk.bus.events():
                if topic.startswith("channel."):
                    desk.forget("channel-" + topic.split(".")[1])
                stream.publish(topic, payload)
        except Exception as error:
            log.warning("the events of the workers broke off; listening again", error=str(error))
        await asyncio.sleep(_RESTED)
