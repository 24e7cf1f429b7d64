"""Sections: round trips, damage, and their way through packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packagers.ts.packet import Packet, section_packets
from packagers.ts.section import Section, SectionAssembler

sections = st.builds(
    Section,
    table_id=st.integers(0, 0xFE),
    table_id_extension=st.integers(0, 0xFFFF),
    body=st.binary(max_size=1012),
    version=st.integers(0, 31),
    current=st.booleans(),
    number=st.integers(0, 255),
    last_number=st.integers(0, 255),
    private=st.booleans(),
)


@given(sections)
def test_round_trip(section: Section) -> None:
    assert Section.from_bytes(section.to_bytes()) == section


@given(sections, st.data())
def test_a_flipped_bit_is_found(section: Section, data: st.DataObject) -> None:
    whole = bytearray(section.to_bytes())
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit >> 3] ^= 1 << (bit & 7)
    with pytest.raises(ValueError, match="section"):
        Section.from_bytes(bytes(whole))


@given(st.binary(max_size=64))
def test_any_bytes_raise_nothing_but_valueerror(data: bytes) -> None:
    with pytest.raises(ValueError, match="section"):
        Section.from_bytes(data)


def test_too_long() -> None:
    assert len(Section(2, 1, bytes(1012)).to_bytes()) == 1024
    with pytest.raises(ValueError, match="split"):
        Section(2, 1, bytes(1013)).to_bytes()
    assert len(Section(0x50, 1, bytes(4084), private=True).to_bytes()) == 4096
    with pytest.raises(ValueError, match="split"):
        Section(0x50, 1, bytes(4085), private=True).to_bytes()


@given(st.lists(sections, max_size=6))
def test_through_packets(several: list[Section]) -> None:
    assembler, found = SectionAssembler(), []
    for section in several:
        for row in section_packets(256, 0, section.to_bytes()):
            packet = Packet.from_bytes(row.tobytes())
            found += assembler.push(packet.payload, packet.unit_start)
    assert found == [section.to_bytes() for section in several]


@given(st.lists(sections, min_size=1, max_size=6))
def test_packed_one_behind_the_other(several: list[Section]) -> None:
    """As multiplexers do: a section begins where the last one ended, and the pointer says where."""
    stream = b"".join(section.to_bytes() for section in several)
    starts = [0]
    for section in several:
        starts.append(starts[-1] + len(section.to_bytes()))
    assembler, found, at = SectionAssembler(), [], 0
    while at < len(stream):
        pointer = next((start - at for start in starts[:-1] if at <= start < at + 183), None)
        room = 184 if pointer is None else 183
        payload = stream[at : at + room].ljust(room, b"\xff")
        found += assembler.push(payload if pointer is None else bytes((pointer,)) + payload, pointer is not None)
        at += room
    assert found == [section.to_bytes() for section in several]


@given(st.lists(st.tuples(st.binary(max_size=184), st.booleans()), max_size=40))
def test_rubbish_does_no_harm(pushes: list[tuple[bytes, bool]]) -> None:
    assembler = SectionAssembler()
    for payload, unit_start in pushes:
        for section in assembler.push(payload, unit_start):
            assert 3 <= len(section) <= 4098
    assembler.lose()
    good = Section(0, 1, b"\0\1\xe1\0").to_bytes()
    assert assembler.push(b"\0" + good, True) == [good]
