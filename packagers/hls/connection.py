"""The fast lane of the origin: plain requests for media, answered from memory without a framework in between.

A connection begins here. As long as it sends what every player sends (whole HTTP/1.1 GET, HEAD or OPTIONS requests for
``/hls/``, no body), ready bytes go straight to the transport. The first request that is anything else hands the
connection, with all that has arrived, over to aiohttp, which keeps it from then on; nothing is parsed in two ways
there, because what this lane does not fully understand it does not answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, cast

from packagers.hls.cache import WindowCache

_LARGEST_HEAD: Final = 16 * 1024
_USUAL_HEAD: Final = 1024
_PATIENCE: Final = 75.0
"""Seconds that a connection may be idle, or its reader not take a byte, before it is closed."""
_UNUSUAL: Final = frozenset({"transfer-encoding", "expect", "upgrade"})


class Desk:
    """What all connections share: the cache, the Date line, the way to aiohttp, and who is connected."""

    def __init__(self, cache: WindowCache, slow: Callable[[], asyncio.Protocol], date: Callable[[], str]) -> None:
        self.cache = cache
        self.slow = slow
        self.connections: set[Connection] = set()
        self.requests = 0
        self.handed_over = 0
        self.closing = False
        self.tail = b""
        """Date line and the empty line that ends a head."""
        self._date = date
        self._beat: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._beats = 0
        self._emptied: asyncio.Event | None = None
        self._tick()

    def _tick(self) -> None:
        """Once a second: the date, and now and then a look for dead connections."""
        self.tail = f"Date: {self._date()}\r\n\r\n".encode()
        self._beats += 1
        if self._beats % 15 == 0:
            oldest = self._loop.time() - _PATIENCE
            for connection in list(self.connections):
                connection.check(oldest)
        self._beat = self._loop.call_later(1.0, self._tick)

    def close(self) -> None:
        """Take no further requests; answers on their way are finished."""
        self.closing = True
        if self._beat is not None:
            self._beat.cancel()
        for connection in list(self.connections):
            connection.finish()

    async def empty(self) -> None:
        """Wait until nobody is connected here."""
        if self.connections:
            self._emptied = asyncio.Event()
            await self._emptied.wait()

    def leave(self, connection: Connection) -> None:
        """A connection is closed or handed over."""
        self.connections.discard(connection)
        if not self.connections and self._emptied is not None:
            self._emptied.set()

    def abort(self) -> None:
        """Drop whoever has not taken its answer yet."""
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """One viewer's connection, until something unusual is asked."""

    __slots__ = ("_buffer", "_desk", "_looked", "_paused", "_seen", "_served", "_transport")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._buffer = b""
        self._paused = False
        self._seen = 0.0
        self._served = 0
        self._looked = (0, 0)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's in all but ancestry.
        self._transport = cast(asyncio.Transport, transport)
        self._seen = asyncio.get_running_loop().time()
        self._desk.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._desk.leave(self)
        self._transport = None

    def pause_writing(self) -> None:
        # Its reader is slower than its questions: hear no more of them until the answer has gone.
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            if self._buffer:
                data, self._buffer = self._buffer, b""
                self.data_received(data)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while data:
            if self._paused:
                self._buffer = data
                return
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > _LARGEST_HEAD or not _begins_plainly(data):
                    self._hand_over(data)
                else:
                    self._buffer = data
                return
            answer = self._answer(data[:end])
            if answer is None:
                self._hand_over(data)
                return
            transport.writelines(answer)
            data = data[end + 4 :]

    def _answer(self, head: bytes) -> list[bytes] | None:
        """The response to one request head, or None if it is not plain."""
        plain = _known(head) if len(head) <= _USUAL_HEAD else _parsed(head)
        desk = self._desk
        if plain is None or desk.closing:
            return None
        desk.requests += 1
        self._served += 1
        answer = desk.cache.answer(*plain)
        if plain[0] == "HEAD" or not answer.body:
            return [answer.head, desk.tail]
        return [answer.head, desk.tail, answer.body]

    def _hand_over(self, data: bytes) -> None:
        """Let aiohttp have the connection and what it has sent."""
        transport = self._transport
        assert transport is not None
        self._desk.handed_over += 1
        self._desk.leave(self)
        self._transport = None
        slow = self._desk.slow()
        transport.set_protocol(slow)
        slow.connection_made(transport)
        slow.data_received(data)

    def check(self, oldest: float) -> None:
        """Close if nothing has moved since ``oldest`` (loop time)."""
        transport = self._transport
        if transport is None:
            return
        waiting = transport.get_write_buffer_size()
        if (waiting, self._served) != self._looked:
            self._looked = (waiting, self._served)
            self._seen = asyncio.get_running_loop().time()
        elif self._seen < oldest:
            # Closing would wait for a reader that takes nothing.
            transport.abort() if waiting else transport.close()

    def finish(self) -> None:
        """Close once what was answered has been sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


def _begins_plainly(data: bytes) -> bool:
    """Whether an unfinished head may still become a plain request."""
    return any(data.startswith(word[: len(data)]) for word in (b"GET /hls/", b"HEAD /hls/", b"OPTIONS /hls/"))


def _parsed(head: bytes) -> tuple[str, str, Mapping[str, str]] | None:
    """Method, path and headers by lower-case name of a request head; None if it is not plain."""
    try:
        first, *lines = head.decode("ascii").split("\r\n")
        method, path, protocol = first.split(" ")
    except ValueError:
        return None
    if protocol != "HTTP/1.1" or not path.startswith("/hls/") or method not in ("GET", "HEAD", "OPTIONS"):
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name[0] in " \t" or name[-1] in " \t":
            return None
        name = name.lower()
        if name in headers or name in _UNUSUAL:
            # Twice, or a body: rare enough to be left to a full parser.
            return None
        headers[name] = value.strip()
    if "host" not in headers or headers.get("content-length", "0") != "0":
        return None
    if headers.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    return method, path, headers


# A player asks for its playlist in the same words again and again, and all players of a kind for a segment.
_known = lru_cache(maxsize=1024)(_parsed)
