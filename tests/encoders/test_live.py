"""Live inputs on loopback: received, placed on house time, and carried on through everything a sender may do."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from encoders.format import ChannelFormat
from encoders.live import LiveSource
from encoders.network import DatagramFeed
from encoders.opening import open_source
from encoders.source import Slice
from headend.clock import SystemClock

Pieces = list[tuple[float, bytes]]


class Sender:
    """Sends pieces of a transport stream over UDP at their times, in a thread."""

    def __init__(self, port: int, pieces: Pieces) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port, self.pieces = port, pieces
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        began = time.monotonic()
        for at, data in self.pieces:
            if (wait := began + at - time.monotonic()) > 0:
                time.sleep(wait)
            for start in range(0, len(data), 1316):
                self.socket.sendto(data[start : start + 1316], ("127.0.0.1", self.port))
        self.socket.close()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


Received = tuple[list[Slice | None], LiveSource]


@pytest.fixture
def receive(channel: ChannelFormat) -> Iterator[Callable[..., tuple[int, list[Received]]]]:
    """``receive(slots, *streams)`` sends streams side by side, pulls ``slots`` slots of each in real time.

    Returns the first slot, and for each stream what was pulled and its source.
    """
    made: list[LiveSource] = []

    def run(slots: int, *streams: Pieces) -> tuple[int, list[Received]]:
        clock = SystemClock()
        ports = [free_port() for _ in streams]
        for port in ports:
            made.append(
                LiveSource(f"live {port}", DatagramFeed(f"udp://127.0.0.1:{port}", clock), channel, clock, latency=0.4)
            )
        first = channel.slot_at(clock.now())
        for source in made:
            source.open(first)
        senders = [Sender(port, pieces) for port, pieces in zip(ports, streams, strict=True)]
        pulled: list[list[Slice | None]] = [[] for _ in streams]
        for slot in range(first, first + slots):
            clock.wait_until(channel.ticks_of(slot))
            for row, source in zip(pulled, made, strict=True):
                row.append(source.pull(slot))
        for sender in senders:
            sender.thread.join(10)
        return first, list(zip(pulled, made, strict=True))

    yield run
    for source in made:
        source.close()


def shift(pieces: Pieces, seconds: float) -> Pieces:
    return [(at + seconds, data) for at, data in pieces]


def restamp(data: bytes, change: Callable[[int], int]) -> bytes:
    """PTS, DTS and PCR of aligned packets changed (90 kHz, modulo 2**33)."""
    out = bytearray(data)

    def stamp(at: int) -> None:
        value = (
            ((out[at] >> 1 & 7) << 30)
            | (out[at + 1] << 22)
            | (out[at + 2] >> 1) << 15
            | (out[at + 3] << 7)
            | out[at + 4] >> 1
        )
        value = change(value) % (1 << 33)
        out[at] = (out[at] & 0xF1) | (value >> 30 & 7) << 1
        out[at + 1], out[at + 2] = value >> 22 & 0xFF, (value >> 15 & 0x7F) << 1 | 1
        out[at + 3], out[at + 4] = value >> 7 & 0xFF, (value & 0x7F) << 1 | 1

    for at in range(0, len(out), 188):
        body = at + 4
        if out[at + 3] & 0x20:
            if out[at + 4] and out[at + 5] & 0x10:
                base = int.from_bytes(out[at + 6 : at + 11], "big") >> 7
                base = change(base) % (1 << 33)
                out[at + 6 : at + 11] = (base << 7 | out[at + 10] & 0x7F).to_bytes(5, "big")
            body += 1 + out[at + 4]
        if (
            out[at + 1] & 0x40
            and out[at + 3] & 0x10
            and out[body : body + 3] == b"\0\0\1"
            and out[body + 3] & 0xC0 == 0xC0
        ):
            flags = out[body + 7]
            if flags & 0x80:
                stamp(body + 9)
            if flags & 0x40:
                stamp(body + 14)
    return bytes(out)


def test_udp_is_received_in_sync_and_its_end_is_noticed(
    make_stream: Callable[..., Pieces], receive: Callable[..., Any], channel: ChannelFormat,
    flashes: Callable[..., list[int]], beeps: Callable[..., list[int]],
) -> None:  # fmt: skip
    first, ((pulled, source),) = receive(145, make_stream(seconds=4.5))
    good = [i for i, s in enumerate(pulled) if s is not None and s.picture is not None and s.sound is not None]
    assert len(good) >= 60, source.state()
    assert good == [*range(good[0], good[0] + len(good))], "no hole once it runs"
    body = pulled[good[0] : good[-1] + 1]
    bright = [slot for slot in flashes(body) if slot > 2]
    assert [b - a for a, b in pairwise(bright)] == [25] * (len(bright) - 1)
    loud = [n for n in beeps(body, channel, first=first + good[0]) if n > 4800]
    for slot, sample in zip(bright, loud, strict=False):
        assert abs(slot * 1920 - sample) <= 0.02 * 48_000 + 240, (
            "half a slot: the source's frames are in no phase with ours"
        )
    assert not any(s.repeated for s in body[:-5] if s)
    state = source.state()
    assert state["connected"]
    assert state["errors"] == state["reconnects"] == state["reanchors"] == state["moves"] == 0
    assert state["last_picture"] is not None
    assert state["packets"] > 0
    assert pulled[-1] is None, "silent input has nothing to give"
    assert not source.ready(first + len(pulled))


def test_timestamps_may_jump_and_streams_change_in_the_middle(
    make_stream: Callable[..., Pieces], receive: Callable[..., Any]
) -> None:
    whole = make_stream(seconds=5)

    def jump(seconds: int) -> Pieces:
        return [(at, restamp(data, lambda t: t + seconds * 90_000) if at >= 2.98 else data) for at, data in whole]

    wrap = [(at, restamp(data, lambda t: t - 3 * 90_000 - 126_000)) for at, data in whole]
    start = make_stream(seconds=2.6)
    other = make_stream(seconds=3, size=(320, 240), channels=1)
    change = start + shift([(at, restamp(data, lambda t: t + 234_000)) for at, data in other], 2.6)
    lossy = [piece for n, piece in enumerate(change) if n % 97 != 50]

    _, received = receive(145, jump(86_400), jump(-2), wrap, lossy)
    for number, (pulled, source) in enumerate(received[:3]):
        state = source.state()
        seen = [i for i, s in enumerate(pulled) if s is not None and s.picture is not None]
        assert len(seen) >= 60, state
        assert seen[-1] - seen[0] - len(seen) + 1 <= 2, (number, state)
        assert all(s is not None and s.picture is not None and s.sound is not None for s in pulled[105:120]), state
        assert state["reconnects"] == 0
        assert state["jumps"] == (0 if number == 2 else 1), state
    pulled, source = received[3]
    good = sum(s is not None and s.picture is not None and s.sound is not None for s in pulled[110:130])
    assert good >= 15, source.state()
    assert all((s.picture.width, s.picture.height) == (160, 90) for s in pulled if s and s.picture)


def test_a_port_in_use_is_said_and_close_is_quick(port: int, channel: ChannelFormat) -> None:
    clock = SystemClock()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        source = open_source("cam", f"udp://127.0.0.1:{port}", channel, clock)
        source.open(0)
        deadline = time.monotonic() + 5
        while "in use" not in source.state()["message"] and time.monotonic() < deadline:
            time.sleep(0.01)
        message = source.state()["message"]
        assert f"port {port} is in use" in message, message
    began = time.monotonic()
    source.close()
    source.close()
    assert time.monotonic() - began < 1


def test_a_source_that_is_not_there_is_tried_again_and_its_secret_kept(channel: ChannelFormat, port: int) -> None:
    source = open_source("cam", f"rtsp://admin:geheim@127.0.0.1:{port}/live", channel, SystemClock())
    source.open(0)
    deadline = time.monotonic() + 10
    while source.state()["errors"] < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    state = source.state()
    source.close()
    assert state["errors"] >= 2, "tried again"
    assert "cannot be opened" in state["message"]
    assert "geheim" not in str(state)
    assert not state["connected"]
    assert not state["receiving"]


def test_open_and_close_leave_nothing(port: int, channel: ChannelFormat, make_stream: Callable[..., Pieces]) -> None:
    clock = SystemClock()
    data = b"".join(piece for _, piece in make_stream(seconds=1))

    def cycle(times: int) -> tuple[int, int]:
        for _ in range(times):
            source = LiveSource("live", DatagramFeed(f"udp://127.0.0.1:{port}", clock), channel, clock)
            source.open(channel.slot_at(clock.now()))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for start in range(0, len(data), 1316):
                    sender.sendto(data[start : start + 1316], ("127.0.0.1", port))
            time.sleep(0.05)
            source.close()
        deadline = time.monotonic() + 5
        while any("live" in t.name for t in threading.enumerate()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = cycle(2)
    assert cycle(6) == before
