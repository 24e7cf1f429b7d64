"""The origin over real sockets: the fast lane, the slow one and the way to the API must not be told apart."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import uvloop
import yarl
from aiohttp import web

from headend.clock import FakeClock
from packagers.hls.origin import Origin, create_app

BODY = random.Random(1).randbytes(200_000)
TEXT = "#EXTM3U\n" + "#EXTINF:6.000000,\n1.m4s\n" * 20


@pytest.fixture
def window(tmp_path: Path) -> Path:
    folder = tmp_path / "window" / "news" / "v"
    folder.mkdir(parents=True)
    (folder / "1.m4s").write_bytes(BODY)
    (folder / "index.m3u8").write_text(TEXT)
    chinese = tmp_path / "window" / "新闻"
    chinese.mkdir()
    (chinese / "index.m3u8").write_text(TEXT)
    return tmp_path / "window"


class Api:
    """A stand-in for the API on a Unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gone = asyncio.Event()
        self.runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/api/v1/events", self.events)
        app.router.add_get("/readyz", self.ready)
        app.router.add_get("/half", self.half)
        app.router.add_route("*", "/{tail:.*}", self.echo)
        self.runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await self.runner.setup()
        await web.UnixSite(self.runner, str(self.path)).start()

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def ready(self, request: web.Request) -> web.Response:
        return web.json_response({"ready": False}, status=503)

    async def half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.abort()
        return response

    async def echo(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "method": request.method,
                "path": request.raw_path,
                "headers": {k.lower(): v for k, v in request.headers.items()},
                "size": len(await request.read()),
            },
            status=201,
            headers={"X-Trace": "7", "Location": "/elsewhere"},
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        try:
            await asyncio.sleep(3600)
        finally:
            self.gone.set()
        return response


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    made = Api(tmp_path / "api.sock")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def origin(window: Path, tmp_path: Path) -> AsyncIterator[tuple[Origin, int]]:
    made = Origin(window, api_socket=tmp_path / "api.sock", clock=FakeClock())
    port = await made.start(port=0)
    yield made, port
    await made.stop()


async def raw(port: int, *pieces: bytes, pause: float = 0.0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)
    return reader, writer


async def answer(reader: asyncio.StreamReader, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    content = await reader.readexactly(int(headers.get("content-length", 0))) if body else b""
    return int(head[0].split()[1]), headers, content


def request(method: str = "GET", path: str = "/hls/news/v/1.m4s", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()


PLAIN = [
    ("GET", "/hls/news/v/1.m4s", {}),
    ("HEAD", "/hls/news/v/1.m4s", {}),
    ("GET", "/hls/news/v/1.m4s", {"Range": "bytes=5-9"}),
    ("GET", "/hls/news/v/1.m4s", {"Range": "bytes=999999-"}),
    ("GET", "/hls/news/v/index.m3u8", {"Accept-Encoding": "gzip"}),
    ("HEAD", "/hls/news/v/index.m3u8", {"Accept-Encoding": "gzip"}),
    ("GET", "/hls/news/v/index.m3u8", {"Accept-Encoding": "identity"}),
    ("GET", "/hls/%E6%96%B0%E9%97%BB/index.m3u8?x=1", {"Accept-Encoding": "identity"}),
    ("GET", "/hls/news/v/9.m4s", {}),
    ("GET", "/hls/../../etc/passwd", {}),
    ("OPTIONS", "/hls/news/v/1.m4s", {}),
    ("GET", "/hls/news/v/1.m4s", {"If-None-Match": "*"}),
]


@pytest.mark.parametrize(("method", "path", "headers"), PLAIN)
async def test_both_lanes_give_the_same_answer(
    origin: tuple[Origin, int], method: str, path: str, headers: dict[str, str]
) -> None:
    made, port = origin
    body = method != "HEAD"
    reader, writer = await raw(port, request(method, path, **headers))
    fast = await answer(reader, body=body)
    assert made.state()["fast_requests"] == 1
    writer.close()
    # Something no player sends makes it a matter for aiohttp.
    reader, writer = await raw(port, request(method, path, **headers, Connection="close"))
    slow = await answer(reader, body=body)
    assert made.state()["handed_over"] == 1
    assert await reader.read() == b""
    writer.close()
    assert fast[0] == slow[0]
    assert fast[2] == slow[2]
    for name in set(fast[1]) - {"date"}:
        assert slow[1].get(name) == fast[1][name], name
    assert fast[1]["date"] == "Fri, 15 Jan 2027 08:00:00 GMT"


async def test_many_requests_on_one_connection_in_any_pieces(origin: tuple[Origin, int]) -> None:
    made, port = origin
    stream = b"".join(
        request(path="/hls/news/v/index.m3u8") + request("HEAD") + request(Range="bytes=0-3") for _ in range(5)
    )
    cuts = sorted(random.Random(2).sample(range(1, len(stream)), 25))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    reader, writer = await raw(port, *pieces, pause=0.001)
    for _ in range(5):
        assert (await answer(reader))[2].decode() == TEXT
        assert (await answer(reader, body=False))[1]["content-length"] == "200000"
        assert (await answer(reader))[2] == BODY[:4]
    assert made.state()["fast_requests"] == 15
    assert made.state()["handed_over"] == 0
    writer.close()


async def test_a_connection_may_go_over_to_the_api_in_the_middle(origin: tuple[Origin, int], api: Api) -> None:
    made, port = origin
    body = b"POST /api/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
    reader, writer = await raw(port, request(path="/hls/news/v/index.m3u8") + body + request(Range="bytes=1-2"))
    assert (await answer(reader))[2].decode() == TEXT
    status, headers, content = await answer(reader)
    assert status == 201
    assert json.loads(content)["size"] == 5
    assert (await answer(reader))[2] == BODY[1:3]
    assert made.state()["fast_requests"] == 1
    writer.close()
    assert headers["x-trace"] == "7"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET /hls/news/v/1.m4s\r\n\r\n",
        b"GET /hls/news/v/1.m4s HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /hls/news/v/1.m4s HTTP/1.1\r\nHost: x\r\n folded: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
        b"GET /hls/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hls/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hls/news/v/1.m4s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    ],
)
async def test_nonsense_is_refused_and_harms_nobody(origin: tuple[Origin, int], nonsense: bytes) -> None:
    _, port = origin
    reader, writer = await raw(port, nonsense)
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        status, _, _ = await answer(reader)
        assert status < 500
    writer.close()
    reader, writer = await raw(port, request(path="/hls/news/v/index.m3u8"))
    assert (await answer(reader))[0] == 200
    writer.close()


async def test_a_slow_reader_holds_up_itself_alone(origin: tuple[Origin, int]) -> None:
    """Its further questions wait in the kernel: memory does not grow with them."""
    made, port = origin
    reader, writer = await raw(port)
    for _ in range(300):
        writer.write(request())
    await asyncio.sleep(0.2)
    assert made.state()["fast_requests"] < 200
    other, close = await raw(port, request(path="/hls/news/v/index.m3u8"))
    assert (await answer(other))[0] == 200
    close.close()
    for _ in range(300):
        assert (await answer(reader))[2] == BODY
    writer.close()


async def test_everything_else_goes_to_the_api_and_back(origin: tuple[Origin, int], api: Api) -> None:
    _, port = origin
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        async with client.put(
            yarl.URL("/api/v1/channels/a%2Fb?x=%20y", encoded=True),
            data=io.BytesIO(b"z" * 3_000_000),
            headers={"Authorization": "Bearer t", "X-Forwarded-For": "10.0.0.9"},
            allow_redirects=False,
        ) as got:
            seen = await got.json()
            assert got.status == 201
            assert got.headers["X-Trace"] == "7"
            assert got.headers["Location"] == "/elsewhere"
        assert seen["method"] == "PUT"
        assert seen["path"] == "/api/v1/channels/a%2Fb?x=%20y"
        assert seen["size"] == 3_000_000
        assert seen["headers"]["authorization"] == "Bearer t"
        assert seen["headers"]["host"] == f"127.0.0.1:{port}"
        assert seen["headers"]["x-forwarded-for"] == "10.0.0.9, 127.0.0.1"
        async with client.get("/readyz") as got:
            assert got.status == 503
            assert await got.json() == {"ready": False}
        async with client.get("/healthz") as got:
            assert got.status == 200
            assert (await got.json())["status"] == "ok"


async def test_events_stream_as_they_come_and_end_with_the_viewer(origin: tuple[Origin, int], api: Api) -> None:
    _, port = origin
    reader, writer = await raw(port, request(path="/api/v1/events"))
    assert b"data: 1\n\n" in await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 5)
    writer.transport.abort()
    await asyncio.wait_for(api.gone.wait(), 5)


async def test_the_api_is_away_and_comes_back(origin: tuple[Origin, int], api: Api) -> None:
    _, port = origin
    await api.stop()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        async with client.get("/api/v1/channels") as got:
            assert got.status == 503
            assert got.headers["Retry-After"] == "1"
            assert got.content_type == "application/problem+json"
            assert (await got.json(content_type=None))["title"] == "The API is away"
        for path in ("/healthz", "/hls/news/v/1.m4s"):
            async with client.get(path) as got:
                assert got.status == 200
        await api.start()
        async with client.get("/api/v1/channels") as got:
            assert got.status == 201


async def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(origin: tuple[Origin, int], api: Api) -> None:
    _, port = origin
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(aiohttp.ClientError):
            async with client.get("/half") as got:
                await got.read()


async def test_without_an_api_other_paths_are_404(window: Path) -> None:
    made = Origin(window)
    port = await made.start(port=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client, client.get("/api") as got:
        assert got.status == 404
    await made.stop()


async def test_two_origins_share_a_port_and_one_may_stop(window: Path) -> None:
    first, second = Origin(window), Origin(window)
    port = await first.start(port=0, reuse_port=True)
    assert await second.start(port=port, reuse_port=True) == port
    await first.stop()
    reader, writer = await raw(port, request(path="/hls/news/v/index.m3u8"))
    assert (await answer(reader))[0] == 200
    writer.close()
    await second.stop()


async def test_a_port_in_use_is_an_error_and_leaves_nothing_behind(window: Path) -> None:
    first, second = Origin(window), Origin(window)
    port = await first.start(port=0)
    with pytest.raises(OSError, match="in use"):
        await second.start(port=port)
    assert not second.state()["serving"]
    await first.stop()
    await first.stop()


async def test_stopping_finishes_what_was_begun(window: Path) -> None:
    made = Origin(window)
    port = await made.start(port=0)
    idle, idle_writer = await raw(port)
    reader, writer = await raw(port, request())
    await reader.readexactly(10)
    stopping = asyncio.create_task(made.stop())
    rest = await asyncio.wait_for(reader.read(-1), 5)
    assert rest.endswith(BODY[-1000:])
    assert await asyncio.wait_for(idle.read(), 5) == b""
    await asyncio.wait_for(stopping, 8)
    with pytest.raises(ConnectionRefusedError):
        await raw(port)
    writer.close()
    idle_writer.close()


async def test_an_open_event_stream_does_not_hold_up_the_end(window: Path, tmp_path: Path, api: Api) -> None:
    made = Origin(window, api_socket=api.path)
    port = await made.start(port=0)
    reader, writer = await raw(port, request(path="/api/v1/events"))
    await asyncio.wait_for(reader.readuntil(b"data: 1\n\n"), 5)
    await asyncio.wait_for(made.stop(), 4)
    await asyncio.wait_for(api.gone.wait(), 5)
    writer.close()


def test_the_same_on_uvloop(window: Path) -> None:
    """The loop that the origin runs on in service has transports of its own."""

    async def talk() -> None:
        made = Origin(window)
        port = await made.start(port=0)
        reader, writer = await raw(port, *[request()] * 60, request(path="/healthz"))
        await asyncio.sleep(0.1)
        assert made.state()["fast_requests"] < 60
        for _ in range(60):
            assert (await answer(reader))[2] == BODY
        assert (await answer(reader))[0] == 200
        writer.close()
        await made.stop()

    uvloop.run(talk())


async def test_an_absolute_address_is_refused(origin: tuple[Origin, int], api: Api) -> None:
    _, port = origin
    reader, writer = await raw(port, request(path="http://elsewhere/x"))
    assert (await answer(reader))[0] == 400
    writer.close()


async def test_idle_and_stuck_connections_are_closed(origin: tuple[Origin, int]) -> None:
    made, port = origin
    idle, writer = await raw(port)
    stuck, stuck_writer = await raw(port, *[request()] * 60)
    await asyncio.sleep(0.1)
    desk = made._desk
    assert desk is not None
    now = asyncio.get_running_loop().time()
    for connection in list(desk.connections):
        connection.check(now + 60)  # the first look only takes note of what has moved
    for connection in list(desk.connections):
        connection.check(now + 60)
    assert await asyncio.wait_for(idle.read(), 5) == b""
    with suppress(ConnectionError):
        await asyncio.wait_for(stuck.read(-1), 5)
    assert not desk.connections
    writer.close()
    stuck_writer.close()


async def test_as_a_plain_application(window: Path, aiohttp_client: object) -> None:
    client = await aiohttp_client(create_app(window))  # type: ignore[operator]
    got = await client.get("/hls/news/v/index.m3u8", headers={"Accept-Encoding": "gzip"})
    assert got.status == 200
    assert await got.text() == TEXT
    head = await client.head("/hls/news/v/1.m4s")
    assert head.headers["Content-Length"] == "200000"
    wrong = await client.post("/hls/news/v/1.m4s", data=b"x")
    assert wrong.status == 405
