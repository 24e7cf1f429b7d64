"""Streams that are fetched: HTTP and HLS from a server on loopback, which may be slow, end, refuse and come back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from encoders.format import ChannelFormat
from encoders.live import LiveSource
from encoders.opening import open_source
from encoders.source import Slice
from headend.clock import SystemClock

Pieces = list[tuple[float, bytes]]


class Server:
    """Sends a transport stream as ``/live.ts`` at the pace of its time, and as ``/live.m3u8`` in segments of a second
    of which the first four are there at the start.
    """

    def __init__(self, pieces: Pieces, port: int = 0) -> None:
        self.pieces = pieces
        self.began = time.monotonic()
        self.asked: list[str] = []
        self.closing = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                with contextlib.suppress(OSError):  # the reader has gone
                    server.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        if path == "/live.ts":
            self.head(request, "video/mp2t")
            began = time.monotonic()
            for at, data in self.pieces:
                if self.closing.wait(max(began + at - time.monotonic(), 0)):
                    return
                request.wfile.write(data)
        elif path == "/live.m3u8":
            newest = 4 + int(time.monotonic() - self.began)
            rows = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{newest - 4}"]
            for number in range(newest - 4, newest):
                rows += ["#EXTINF:1.0,", f"{number}.ts"]
            self.head(request, "application/vnd.apple.mpegurl")
            request.wfile.write(("\n".join(rows) + "\n").encode())
        elif path.endswith(".ts"):
            number = int(path[1:-3])
            self.head(request, "video/mp2t")
            for at, data in self.pieces:
                if number <= at < number + 1:
                    request.wfile.write(data)
        else:
            request.send_error(404)

    def head(self, request: BaseHTTPRequestHandler, kind: str) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.end_headers()

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def serve(make_stream: Callable[..., Pieces]) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def start(port: int = 0, **spec: Any) -> Server:
        made.append(Server(make_stream(**{"gop": 25, **spec}), port))
        return made[-1]

    yield start
    for server in made:
        if not server.closing.is_set():
            server.close()


def pull(source: LiveSource, channel: ChannelFormat, enough: Callable[[list[Slice | None]], bool], most: int) -> Any:
    """What a source yields in real time until it is enough; the first slot."""
    first = channel.slot_at(source.clock.now())
    pulled: list[Slice | None] = []
    while not enough(pulled) and len(pulled) < most:
        source.clock.wait_until(channel.ticks_of(first + len(pulled)))
        pulled.append(source.pull(first + len(pulled)))
    return first, pulled


def shown(pulled: list[Slice | None]) -> int:
    return sum(piece is not None and piece.picture is not None and piece.sound is not None for piece in pulled)


@pytest.mark.parametrize("path", ["live.ts", "live.m3u8?token=very-secret"])
def test_what_is_fetched_comes_unbroken_and_in_sync(
    path: str, serve: Callable[..., Server], channel: ChannelFormat, flashes: Callable[..., list[int]],
    beeps: Callable[..., list[int]],
) -> None:  # fmt: skip
    server = serve(seconds=12)
    source: Any = open_source("far", f"http://127.0.0.1:{server.port}/{path}", channel, SystemClock(), latency=1.5)
    source.open(channel.slot_at(source.clock.now()))
    try:
        first, pulled = pull(source, channel, lambda got: shown(got) > 70, 400)
        state = source.state()
    finally:
        source.close()
    begins = next(n for n, piece in enumerate(pulled) if piece is not None and piece.picture is not None)
    steady = pulled[begins + 13 :]
    assert shown(pulled) > 70, state
    assert all(piece is not None and piece.picture is not None and piece.sound is not None for piece in steady), state
    assert not any(piece.repeated for piece in steady if piece is not None)
    assert (state["reanchors"], state["jumps"], state["late"], state["drops"]) == (0, 0, 0, 0), state
    bright, loud = flashes(pulled)[1:], beeps(pulled, channel, first=first)[1:]
    assert len(bright) >= 2
    assert len(bright) == len(loud)
    for flash, beep in zip(bright, loud, strict=True):
        at = channel.first_sample(first + flash) - channel.first_sample(first)
        assert abs(beep - at) / 48_000 < 0.021  # half a slot, and a sample
    assert "very-secret" not in str(state)


def test_a_server_that_ends_is_asked_again_until_it_is_back(
    serve: Callable[..., Server], channel: ChannelFormat
) -> None:
    server = serve(seconds=2)
    source: Any = open_source("far", f"http://127.0.0.1:{server.port}/live.ts", channel, SystemClock(), seed=1)
    source.open(channel.slot_at(source.clock.now()))
    try:
        pull(source, channel, lambda got: shown(got) > 10, 250)
        server.close()
        _, pulled = pull(source, channel, lambda _: "cannot be opened" in source.state()["message"], 400)
        assert len(pulled) < 400, source.state()
        assert "cannot be opened" in source.state()["message"]
        back = serve(port=server.port, seconds=6)
        _, pulled = pull(source, channel, lambda got: shown(got) > 10, 500)
        assert shown(pulled) > 10, source.state()
        assert back.asked
        assert source.state()["reconnects"] >= 1
        assert source.state()["message"] == ""
    finally:
        source.close()
