"""PES headers: times that wrap, lengths that do not fit, bytes from anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packagers.ts.pes import AUDIO, MODULUS, PRIVATE_1, VIDEO, PesPacket, header, unwrap

times = st.integers(0, MODULUS * 3)


@given(st.sampled_from([VIDEO, AUDIO, PRIVATE_1]), times, st.none() | times, st.binary(min_size=1, max_size=300))
def test_times_come_back(stream: int, pts: int, dts: int | None, payload: bytes) -> None:
    packet = PesPacket.from_bytes(header(stream, len(payload), pts, dts) + payload)
    expected = pts if dts is None else dts
    assert packet == PesPacket(stream, pts % MODULUS, expected % MODULUS, payload)


def test_a_known_header() -> None:
    """PTS 0x1_2345_6789 in 2.4.3.6's five bytes: 0010 100 1, 15 bits and a marker, 15 bits and a marker."""
    assert header(AUDIO, 10, 0x1_2345_6789).hex() == "000001c00012848005" + "298d15cf13"


def test_equal_times_are_written_once() -> None:
    assert len(header(VIDEO, 0, 900, 900)) == 14
    assert len(header(VIDEO, 0, 900, 0)) == 19


def test_only_pictures_may_be_unbounded() -> None:
    assert header(VIDEO, 0, 0)[4:6] == b"\0\0"
    assert header(VIDEO, 70_000, 0)[4:6] == b"\0\0"
    payload = bytes(70_000)
    assert PesPacket.from_bytes(header(VIDEO, 0, 0) + payload).payload == payload
    assert header(AUDIO, 65_527, 0)[4:6] == b"\xff\xff"
    with pytest.raises(ValueError, match="length field"):
        header(AUDIO, 65_528, 0)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_raise_nothing_but_valueerror(data: bytes, started: bool) -> None:
    try:
        packet = PesPacket.from_bytes(b"\0\0\1" + data if started else data)
    except ValueError:
        return
    assert packet.pts is None or 0 <= packet.pts < MODULUS


@given(times, st.integers(-(MODULUS // 2) + 1, MODULUS // 2 - 1))
def test_unwrapping_finds_the_nearest(near: int, distance: int) -> None:
    assert unwrap((near + distance) % MODULUS, near) == near + distance
