"""The reference demultiplexer must see what is wrong, or it judges nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.accessunit import AccessUnit, StreamFormat
from headend.clock import TICKS_PER_SECOND as S
from packagers.ts.demux import Demuxer, Program
from packagers.ts.packet import SIZE
from packagers.ts.segment import SegmentMuxer

Stream = tuple[StreamFormat, list[AccessUnit]]
START = 1_800_000_002 * S


def read(*parts: bytes) -> Program:
    demuxer = Demuxer()
    for part in parts:
        demuxer.read(part)
    return demuxer.finish()


@pytest.fixture(scope="module")
def segment(make_pictures: Callable[..., Stream]) -> bytes:
    fmt, units = make_pictures()
    return SegmentMuxer([fmt]).segment([[u for u in units if u.pts < START + S]], start=START, end=START + S)


def pid(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def test_a_missing_packet_is_counted(segment: bytes) -> None:
    rows = [segment[at : at + SIZE] for at in range(0, len(segment), SIZE)]
    lost = next(at for at, row in enumerate(rows) if at > 40 and pid(row) == 0x100)
    assert read(b"".join(rows)).continuity_errors == 0
    assert read(b"".join(rows[:lost] + rows[lost + 1 :])).continuity_errors == 1


def test_a_repeated_packet_is_allowed(segment: bytes) -> None:
    """Once, with the same counter (2.4.3.3)."""
    rows = [segment[at : at + SIZE] for at in range(0, len(segment), SIZE)]
    twice = read(b"".join([*rows[:40], rows[39], *rows[40:]]))
    assert (twice.continuity_errors, twice.packets) == (0, read(segment).packets)


def test_damaged_tables_and_marked_packets_are_counted(segment: bytes) -> None:
    table = bytearray(segment)
    table[SIZE - 185 + 8] ^= 1  # inside the first PAT
    assert read(bytes(table)).damaged == 1
    marked = bytearray(segment)
    marked[1] |= 0x80
    assert read(bytes(marked)).damaged == 1


def test_reading_in_pieces_is_reading_at_once(segment: bytes) -> None:
    assert read(*(segment[at : at + SIZE] for at in range(0, len(segment), SIZE))).packets == read(segment).packets


@given(st.lists(st.binary(min_size=SIZE - 1, max_size=SIZE - 1), max_size=8))
def test_rubbish_is_counted_and_does_no_harm(rows: list[bytes]) -> None:
    program = read(b"".join(b"\x47" + row for row in rows))
    assert program.damaged + program.continuity_errors <= 3 * len(rows)


@given(st.data())
def test_damage_anywhere_does_no_harm(segment: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(segment)
    for _ in range(8):
        at = data.draw(st.integers(0, len(spoiled) - 1))
        if at % SIZE:
            spoiled[at] ^= data.draw(st.integers(1, 255))
    read(bytes(spoiled))
    spoiled[SIZE] = 0
    with pytest.raises(ValueError, match="sync"):
        read(bytes(spoiled))
