"""The fast lane by itself: what it answers, what it leaves to others, and how it treats a full transport."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from packagers.hls.cache import WindowCache
from packagers.hls.connection import Connection, Desk


class Slow(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.protocol: Any = None
        self.reading = True
        self.waiting = 0
        self.ended: str | None = None

    def writelines(self, list_of_data: Any) -> None:
        self.sent += b"".join(list_of_data)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.ended is not None

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "index.m3u8").write_text("#EXTM3U\n")
    return tmp_path


async def connect(folder: Path) -> tuple[Desk, Connection, FakeTransport, list[Slow]]:
    made: list[Slow] = []

    def slow() -> Slow:
        made.append(Slow())
        return made[-1]

    desk = Desk(WindowCache(folder), slow, lambda: "Thu, 01 Jan 1970 00:00:00 GMT")
    connection, transport = Connection(desk), FakeTransport()
    connection.connection_made(transport)
    return desk, connection, transport, made


GET = b"GET /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_byte_by_byte(folder: Path) -> None:
    desk, connection, transport, slow = await connect(folder)
    for byte in GET * 2:
        connection.data_received(bytes([byte]))
    assert transport.sent.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert transport.sent.endswith(b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n#EXTM3U\n")
    assert not slow
    desk.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /hls/c/index.m3u8 HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /hls/c/index.m3u8 HTTP/1.1\r\n\r\n",
        b"GET /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
        b"GET /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n",
        b"GET /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nRange: bytes=2-3\r\n\r\n",
        b"GET /hls/c/index.m3u8 HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET  /hls/c/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"P",
    ],
)
async def test_whatever_is_not_plain_goes_over_whole(folder: Path, head: bytes) -> None:
    desk, connection, transport, slow = await connect(folder)
    connection.data_received(GET + head)
    assert transport.sent.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert slow[0].data == head
    assert transport.protocol is slow[0]
    assert desk.handed_over == 1
    assert not desk.connections
    connection.data_received(GET)  # nothing more is heard here
    assert desk.requests == 1
    desk.close()


async def test_a_full_transport_is_not_filled_further(folder: Path) -> None:
    desk, connection, transport, _ = await connect(folder)
    connection.pause_writing()
    assert not transport.reading
    connection.data_received(GET * 3)
    assert transport.sent == b""
    connection.resume_writing()
    assert transport.reading
    assert transport.sent.count(b"200 OK") == 3
    desk.close()


@pytest.mark.parametrize(("waiting", "end"), [(0, "closed"), (500, "aborted")])
async def test_only_what_does_not_move_is_ended(folder: Path, waiting: int, end: str) -> None:
    desk, connection, transport, _ = await connect(folder)
    later = asyncio.get_running_loop().time() + 100
    transport.waiting = waiting
    connection.data_received(GET)
    connection.check(later)
    assert transport.ended is None
    connection.data_received(GET)
    connection.check(later)
    assert transport.ended is None
    connection.check(later)
    assert transport.ended == end
    connection.connection_lost(None)
    assert not desk.connections
    await asyncio.wait_for(desk.empty(), 1)
    desk.close()


async def test_closing_sends_later_questions_elsewhere(folder: Path) -> None:
    desk, connection, transport, slow = await connect(folder)
    desk.close()
    assert transport.ended == "closed"
    connection.data_received(GET)
    assert transport.sent == b""
    assert not slow
