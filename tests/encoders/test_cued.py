"""A file among the sources: at its beginning whenever it is put on air, and never at its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

from encoders.cued import OFF_AIR, CuedFile
from encoders.format import ChannelFormat
from encoders.source import Slice
from headend.clock import FakeClock

Make = Callable[..., Path]
FIRST = 45_000_000_003


def until_ready(source: CuedFile, slot: int) -> None:
    deadline = time.monotonic() + 10
    while not source.ready(slot) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert source.ready(slot), source.state()


def pulled(source: CuedFile, first: int, count: int) -> list[Slice]:
    slices = []
    for slot in range(first, first + count):
        piece = source.pull(slot, wait=20.0)
        assert piece is not None
        assert not piece.ended
        slices.append(piece)
    return slices


def test_it_begins_when_it_is_asked_for_loops_and_is_cued_again(
    make_media: Make, channel: ChannelFormat, clock: FakeClock, flashes: Callable[..., list[int]],
    beeps: Callable[..., list[int]],
) -> None:  # fmt: skip
    source = CuedFile("clip", make_media("clip.mp4", seconds=2), channel, clock)
    source.open(FIRST - 5000)
    try:
        until_ready(source, FIRST)
        # Longer than the file: it is repeated. A second begins with a flash and a beep.
        slices = pulled(source, FIRST, 110)
        assert flashes(slices) == [0, 25, 50, 75, 100]
        assert all(abs(beep - n * 48_000) < 240 for n, beep in enumerate(beeps(slices, channel)))
        assert source.state()["on_air"]
        # Back before anybody noticed that it was away (accelerated), and after it was cued again.
        later = FIRST + 110 + 40
        assert flashes(pulled(source, later, 30)) == [0, 25]
        deadline = time.monotonic() + OFF_AIR + 5
        while source.state()["on_air"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert source.state()["cues"] == 3
        until_ready(source, later + 500)
        again = source.pull(later + 500)  # no waiting: it was in hand
        assert again is not None
        assert again.picture is not None
        assert flashes([again]) == [0]
    finally:
        source.close()


def test_at_a_rate_whose_slots_are_no_whole_samples_every_slot_has_its_own(make_media: Make, clock: FakeClock) -> None:
    channel = ChannelFormat(160, 90, Fraction(30_000, 1001))
    source = CuedFile("clip", make_media("clip.mp4", seconds=1), channel, clock)
    source.open(FIRST)
    try:
        got: list[Slice | None] = [source.pull(slot, wait=20.0) for slot in range(FIRST, FIRST + 30)]
        begins = next(n for n, piece in enumerate(got) if piece is not None)
        assert begins < 5
        for slot, piece in enumerate(got[begins:], FIRST + begins):
            assert piece is not None
            assert piece.sound is not None
            assert piece.sound[0].shape[1] == channel.samples_in(slot)
    finally:
        source.close()


def test_a_file_that_cannot_be_played_says_so_and_nothing_is_left(channel: ChannelFormat, clock: FakeClock) -> None:
    before = threading.active_count()
    source: Any = CuedFile("clip", "/nowhere/clip.mp4", channel, clock)
    source.open(FIRST)
    piece = source.pull(FIRST, wait=5.0)
    assert piece is not None
    assert piece.ended
    assert "/nowhere/clip.mp4" in source.state()["message"]
    source.close()
    source.close()
    assert source.pull(FIRST + 1) is None
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
