"""Packets: any payload goes in and comes out, and no bytes do harm."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packagers.ts.packet import (
    PCR_MODULUS,
    SIZE,
    AdaptationField,
    Packet,
    packetise,
    pcr_bytes,
    pcr_packet,
    pcr_ticks,
    pids,
    section_packets,
    view,
)


@given(
    payload=st.integers(1, 1200).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    pid=st.integers(0, 0x1FFE),
    counter=st.integers(0, 15),
    random_access=st.booleans(),
    pcr=st.none() | st.integers(0, 1 << 60),
)
def test_any_payload_comes_back(payload: bytes, pid: int, counter: int, random_access: bool, pcr: int | None) -> None:
    rows = packetise(pid, counter, payload, random_access=random_access, pcr=pcr)
    packets = [Packet.from_bytes(row.tobytes()) for row in rows]
    assert b"".join(p.payload for p in packets) == payload
    assert [p.counter for p in packets] == [(counter + i) % 16 for i in range(len(packets))]
    assert {p.pid for p in packets} == {pid}
    assert [p.unit_start for p in packets] == [True] + [False] * (len(packets) - 1)
    first = packets[0].adaptation
    assert (first is not None and first.random_access) == random_access
    assert (first.pcr if first else None) == (None if pcr is None else pcr % PCR_MODULUS)
    for packet, row in zip(packets, rows, strict=True):
        assert packet.to_bytes() == row.tobytes()


@pytest.mark.parametrize("size", range(170, 380))
def test_no_packet_is_wasted(size: int) -> None:
    """As few packets as hold the payload, whichever way the stuffing falls."""
    assert len(packetise(256, 0, bytes(size))) == -(-size // 184)
    assert len(packetise(256, 0, bytes(size), random_access=True, pcr=0)) == -(-(size + 8) // 184)


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_bytes_are_a_packet_or_a_valueerror(data: bytes) -> None:
    data = b"\x47" + data[1:]
    try:
        packet = Packet.from_bytes(data)
    except ValueError:
        return
    assert len(packet.payload) <= SIZE - 4


@given(st.binary(max_size=400))
def test_misaligned_bytes_are_a_valueerror(data: bytes) -> None:
    for parse in (Packet.from_bytes, view):
        with suppress(ValueError):
            parse(data)


@given(st.integers(0, 1 << 62))
def test_references_keep_every_tick(ticks: int) -> None:
    assert pcr_ticks(pcr_bytes(ticks)) == ticks % PCR_MODULUS


def test_a_known_reference() -> None:
    """Base 0x1_2345_6789 and extension 0x123 as 2.4.3.5 lays them out."""
    assert pcr_bytes(0x1_2345_6789 * 300 + 0x123).hex() == "91a2b3c4ff23"


def test_a_packet_of_a_reference_alone() -> None:
    packet = Packet.from_bytes(pcr_packet(0x123, 7, 999).tobytes())
    assert packet.adaptation == AdaptationField(pcr=999, stuffing=176)
    assert (packet.pid, packet.counter, packet.payload) == (0x123, 7, b"")


def test_sections_travel_behind_a_pointer() -> None:
    rows = section_packets(0x1000, 15, bytes(range(1, 200)))
    assert rows.shape == (2, SIZE)
    assert rows[0, 4] == 0
    assert [int(row[3] & 15) for row in rows] == [15, 0]
    assert rows[:, 4:].tobytes()[1:].startswith(bytes(range(1, 200)) + b"\xff")
    assert pids(view(rows.tobytes())).tolist() == [0x1000, 0x1000]


def test_a_part_of_a_packet_at_the_end_is_left_out() -> None:
    rows = packetise(256, 0, bytes(400))
    assert np.array_equal(view(rows.tobytes() + b"\x47"), rows)
