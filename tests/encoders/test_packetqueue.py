"""The queue between a socket and a demultiplexer: order kept, size bounded, the source's clock seen."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.packetqueue import PacketQueue
from headend.clock import TICKS_PER_SECOND, FakeClock


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=30), st.integers(1, 64))
def test_bytes_come_out_as_they_went_in(chunks: list[bytes], size: int) -> None:
    queue = PacketQueue(FakeClock())
    for chunk in chunks:
        queue.put(chunk)
    queue.finish()
    out = b""
    while piece := queue.read(size):
        assert len(piece) <= size
        out += piece
    assert out == b"".join(chunks)


def test_what_nobody_reads_is_dropped_from_its_old_end_and_counted() -> None:
    queue = PacketQueue(FakeClock(), capacity=100)
    for n in range(20):
        queue.put(bytes([n]) * 10)
    assert queue.overruns == 100
    assert queue.read(10) == bytes([10]) * 10


def test_finish_and_staleness_end_a_reader_that_waits() -> None:
    for end in ("finish", "stale"):
        queue, stale = PacketQueue(FakeClock()), threading.Event()
        queue.watch_staleness(stale.is_set)
        got: list[bytes] = []
        reader = threading.Thread(target=lambda q=queue, g=got: g.append(q.read(10)))
        reader.start()
        queue.finish() if end == "finish" else stale.set()
        reader.join(5)
        assert got == [b""]


def packet(pcr: int) -> bytes:
    base, extension = divmod(pcr % (300 << 33), 300)
    field = (base << 15 | 0x7E00 | extension).to_bytes(6, "big")
    return b"G\x01\x00\x20\xb7\x10" + field + b"\xff" * 176


@pytest.mark.parametrize("cut", [188, 188 * 3, 1000, 77])
def test_drift_is_measured_from_pcr_across_a_wrap_however_a_pipe_cuts(cut: int) -> None:
    clock = FakeClock()
    queue = PacketQueue(clock, capacity=1 << 30)
    start, ppm = (300 << 33) - 30 * TICKS_PER_SECOND, 80
    pending = b""
    for n in range(25 * 120):
        pending += packet(start + round(n * 1_080_000 * (1 + ppm * 1e-6)))
        clock.advance(1_080_000)
        while len(pending) >= cut:
            queue.put(pending[:cut])
            pending = pending[cut:]
    assert queue.slope.rate * 1e6 == pytest.approx(ppm, abs=8)
    assert queue.bit_rate == pytest.approx(188 * 25 * 8, rel=0.2)
